import type { InferOutput } from 'valibot';
import { defineKind, topLevel, type ObjectOf } from '../kind.ts';
import { checked, count32, dflt, int32, microTime, obj, opt, str } from '../schema.ts';
import { ageColumn, nameColumn } from './columns.ts';

export const LeaseSpec = obj('coordination.v1.LeaseSpec', {
  holderIdentity: opt(str(), 'Who holds the lease.'),
  leaseDurationSeconds: opt(checked(int32(), (n) => n > 0, 'must be greater than 0'), 'Seconds after renewTime that others wait.'),
  acquireTime: opt(microTime(), 'When it was acquired.'),
  renewTime: opt(microTime(), 'When the holder last renewed it.'),
  leaseTransitions: opt(count32(), 'How often the holder changed.'),
  strategy: opt(str(), 'How a leader is chosen, in coordinated election.'),
  preferredHolder: opt(str(), 'Who should take the lease.'),
}, 'Who holds a lease, and since when.');
export type LeaseSpec = InferOutput<typeof LeaseSpec>;

const LeaseSchema = topLevel('coordination.v1.Lease', {
  spec: dflt(LeaseSpec, {}, 'Who holds it, and since when.'),
}, 'A claim that is renewed from time to time.');
export type Lease = ObjectOf<typeof LeaseSchema>;

export const leases = defineKind<Lease>({
  group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', namespaced: true, schema: LeaseSchema,
  columns: [
    nameColumn,
    { name: 'Holder', type: 'string', description: 'Who holds the lease.', cell: (o) => o.spec.holderIdentity ?? '' },
    ageColumn,
  ],
});
