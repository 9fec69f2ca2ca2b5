import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { dflt, req } from '../schema.ts';
import { PodSpec } from './pod-spec.ts';
import { PodStatus } from './pod-status.ts';
import { ageColumn, nameColumn } from './columns.ts';

const PodSchema = topLevel('core.v1.Pod', {
  spec: req(PodSpec, 'What the pod should be.'),
  status: dflt(PodStatus, {}, 'What is known of it.'),
}, 'Containers that run together on one node.');
export type Pod = ObjectOf<typeof PodSchema>;

export const pods = defineKind<Pod>({
  group: '', version: 'v1', kind: 'Pod', plural: 'pods', shortNames: ['po'], categories: ['all'], namespaced: true, schema: PodSchema,
  status: true,
  columns: [nameColumn, ageColumn],
});
