import { decode } from '../../shared/decode.ts';
import { nameOf, ObjectMeta, type KubeObject } from '../../shared/meta.ts';
import { pods } from '../../shared/kinds/pod.ts';
import { bool, int64, list, obj, oneOf, opt, str } from '../../shared/schema.ts';
import { badRequest } from '../../shared/status.ts';
import type { Registry } from './registry.ts';
import type { DeleteOptions, Propagation, WriteOptions } from './types.ts';

/** `meta/v1` DeleteOptions, as a request body. */
export const DeleteOptionsSchema = obj('meta.v1.DeleteOptions', {
  apiVersion: opt(str(), 'Versioned schema of this representation.'),
  kind: opt(str(), 'Kind of this object.'),
  gracePeriodSeconds: opt(int64(), 'Seconds that the object is given to end; 0 removes it at once.'),
  propagationPolicy: opt(oneOf('Background', 'Foreground', 'Orphan'), 'What happens to dependents.'),
  orphanDependents: opt(bool(), 'Deprecated form of propagationPolicy.'),
  preconditions: opt(obj('meta.v1.Preconditions', {
    uid: opt(str(), 'UID that the object must have.'), resourceVersion: opt(str(), 'Version that the object must have.'),
  }), 'What must hold for the deletion to happen.'),
  dryRun: opt(list(str()), 'All: check and answer, but delete nothing.'),
}, 'How to delete an object.');

export interface DeleteOptionsBody {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: Propagation;
  readonly orphanDependents?: boolean;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly dryRun?: readonly string[];
}

/** `policy/v1` Eviction. */
export const EvictionSchema = obj('policy.v1.Eviction', {
  apiVersion: opt(str(), 'Versioned schema of this representation.'),
  kind: opt(str(), 'Kind of this object.'),
  metadata: opt(ObjectMeta, 'Names the pod to evict.'),
  deleteOptions: opt(DeleteOptionsSchema, 'How to delete the pod.'),
}, 'Asks for a pod to be deleted if its disruption budgets allow it.');

interface Eviction extends KubeObject { readonly deleteOptions?: DeleteOptionsBody }

/**
 * Evicts a pod. No disruption budgets exist yet, so that an eviction is a deletion.
 * @throws StatusError 400, 404, 409
 */
export async function evict(registry: Registry, namespace: string, name: string, document: unknown, options: WriteOptions): Promise<void> {
  const { value } = decode<Eviction>(EvictionSchema, document, { complete: true });
  const asked = nameOf({ metadata: value.metadata ?? {} });
  if (asked && asked !== name) throw badRequest(`name in URL does not match name in Eviction object: ${name} != ${asked}`);
  const body = value.deleteOptions ?? {};
  const deletion: DeleteOptions = {
    ...options,
    ...(body.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: body.gracePeriodSeconds }),
    ...(body.propagationPolicy ? { propagationPolicy: body.propagationPolicy } : {}),
    ...(body.preconditions ? { preconditions: body.preconditions } : {}),
    ...(body.dryRun?.length ? { dryRun: true } : {}),
  };
  await registry.delete(pods, namespace, name, deletion);
}
