import type { Kind } from '../../shared/kind.ts';
import { kinds } from '../../shared/kinds/index.ts';
import type { KubeObject, OwnerReference } from '../../shared/meta.ts';
import type { Again } from '../../shared/queue.ts';
import { isNotFound } from '../../shared/status.ts';
import { foregroundFinalizer, orphanFinalizer } from '../registry/deletion.ts';
import { storeKey } from '../registry/registry.ts';
import type { KindChange, Propagation } from '../registry/types.ts';
import { defineController, groupOf, type Context } from './controller.ts';

/** An object in the store, and what it is. */
interface Found {
  readonly kind: Kind;
  readonly object: KubeObject;
}

/**
 * Deletes objects whose owners are all gone, and carries out foreground and orphaning deletions. Keys are store keys.
 * Which objects depend on which is the indexes' knowledge; what is decided, is decided on stored objects.
 */
export const garbageCollector = defineController({
  name: 'garbage-collector', concurrency: 32,
  watches: kinds.map((kind) => ({ kind, keys: keysOf })),
  async reconcile(key, context): Promise<Again | void> {
    const found = findByKey(key, context);
    if (!found) return undefined;
    const { deletionTimestamp, finalizers = [] } = found.object.metadata;
    if (deletionTimestamp && finalizers.includes(orphanFinalizer)) await orphanDependents(found, context);
    else if (deletionTimestamp && finalizers.includes(foregroundFinalizer)) return deleteDependents(found, context);
    else if (!deletionTimestamp) await collect(found, context);
    return undefined;
  },
});

function* keysOf(change: KindChange, context: Context): Generator<string> {
  const { kind, namespace, name, type, object } = change;
  if (type === 'DELETED') yield* context.indexes.dependents(object.metadata.uid ?? '');
  else if (needsLook(change)) yield storeKey(kind, namespace, name);
  // An owner that waits for its dependents looks again at each that goes.
  if (type === 'DELETED') yield* waitingOwners(object, context);
}

/** Whether a change can call for collection: new owners, a new object, or the beginning of its end. */
function needsLook(change: KindChange): boolean {
  const { metadata } = change.object;
  if (!metadata.ownerReferences?.length && !metadata.deletionTimestamp) return false;
  const { previous } = change;
  return !previous || relevant(previous) !== relevant(change.object);
}

const relevant = ({ metadata }: KubeObject): string => JSON.stringify([metadata.ownerReferences, metadata.deletionTimestamp, metadata.finalizers]);

function* waitingOwners(object: KubeObject, context: Context): Generator<string> {
  for (const reference of object.metadata.ownerReferences ?? []) {
    const owner = lookUp(reference, object, context);
    if (owner && owner !== 'unknown' && owner.object.metadata.deletionTimestamp) yield keyOfFound(owner);
  }
}

const keyOfFound = ({ kind, object }: Found): string => storeKey(kind, object.metadata.namespace ?? '', object.metadata.name ?? '');

function findByKey(key: string, { registry }: Context): Found | undefined {
  const kind = registry.kinds.find(({ prefix }) => key.startsWith(prefix));
  if (!kind) return undefined;
  const [first = '', second] = key.slice(kind.prefix.length).split('/');
  const object = second === undefined ? registry.find(kind, '', first) : registry.find(kind, first, second);
  return object && { kind, object };
}

/** The object that a reference means; `unknown` when that cannot be told: a kind that is not served, or no namespace to look in. */
function lookUp(reference: OwnerReference, dependent: KubeObject, { registry }: Context): Found | 'unknown' | undefined {
  const kind = registry.kinds.find((candidate) => candidate.kind === reference.kind && candidate.group === groupOf(reference.apiVersion));
  const namespace = dependent.metadata.namespace ?? '';
  if (!kind || (kind.namespaced && !namespace)) return 'unknown';
  const object = registry.find(kind, kind.namespaced ? namespace : '', reference.name);
  return object?.metadata.uid === reference.uid ? { kind, object } : undefined;
}

/** Deletes an object that only gone owners, or owners waiting for its end, refer to; else drops references to those. */
async function collect(found: Found, context: Context): Promise<void> {
  const references = found.object.metadata.ownerReferences ?? [];
  if (references.length === 0) return;
  const owners = references.map((reference) => ({ reference, owner: lookUp(reference, found.object, context) }));
  const lost = owners.filter(({ owner }) => owner === undefined || isWaiting(owner));
  if (lost.length === 0) return;
  if (lost.length < owners.length) return dropReferences(found, new Set(lost.map(({ reference }) => reference.uid)), context);
  const waiting = lost.some(({ owner }) => owner !== undefined);
  const { metadata: { uid = '', resourceVersion = '', finalizers = [] } } = found.object;
  const policy = finalizers.includes(orphanFinalizer) ? 'Orphan'
    : finalizers.includes(foregroundFinalizer) || (waiting && hasAny(context.indexes.dependents(uid))) ? 'Foreground' : 'Background';
  await remove(found, policy, { uid, resourceVersion }, context);
}

const isWaiting = (owner: Found | 'unknown'): boolean =>
  owner !== 'unknown' && owner.object.metadata.deletionTimestamp !== undefined && (owner.object.metadata.finalizers ?? []).includes(foregroundFinalizer);

const hasAny = (keys: Iterable<string>): boolean => !keys[Symbol.iterator]().next().done;

async function remove({ kind, object }: Found, propagationPolicy: Propagation, preconditions: { uid: string; resourceVersion: string }, { registry }: Context): Promise<void> {
  await registry.delete(kind, object.metadata.namespace ?? '', object.metadata.name ?? '', { propagationPolicy, preconditions }).catch(ignoreMissing);
}

/** The owner goes when no dependent that blocks it is left. */
async function deleteDependents(owner: Found, context: Context): Promise<Again | void> {
  const uid = owner.object.metadata.uid ?? '';
  let blocked = false;
  for (const key of [...context.indexes.dependents(uid)]) {
    const dependent = findByKey(key, context);
    const reference = dependent?.object.metadata.ownerReferences?.find((candidate) => candidate.uid === uid);
    if (!dependent || !reference) continue;
    if (!dependent.object.metadata.deletionTimestamp) await collect(dependent, context);
    const left = findByKey(key, context)?.object.metadata;
    const blocks = left?.ownerReferences?.some((candidate) => candidate.uid === uid && candidate.blockOwnerDeletion);
    if (blocks && left?.uid === dependent.object.metadata.uid) blocked = true;
  }
  // A dependent may also let go of its owner without being deleted; that is only found by looking.
  if (blocked) return { requeueAfterMs: 30_000 };
  return removeFinalizer(owner, foregroundFinalizer, context);
}

async function orphanDependents(owner: Found, context: Context): Promise<void> {
  const uid = owner.object.metadata.uid ?? '';
  for (const key of [...context.indexes.dependents(uid)]) {
    const dependent = findByKey(key, context);
    if (dependent) await dropReferences(dependent, new Set([uid]), context);
  }
  await removeFinalizer(owner, orphanFinalizer, context);
}

async function dropReferences(found: Found, uids: ReadonlySet<string>, context: Context): Promise<void> {
  await change(found, context, (object) => {
    const kept = (object.metadata.ownerReferences ?? []).filter((reference) => !uids.has(reference.uid));
    if (kept.length > 0) object.metadata.ownerReferences = kept;
    else delete object.metadata.ownerReferences;
  });
}

async function removeFinalizer(found: Found, finalizer: string, context: Context): Promise<void> {
  await change(found, context, (object) => {
    object.metadata.finalizers = (object.metadata.finalizers ?? []).filter((candidate) => candidate !== finalizer);
  });
}

async function change({ kind, object }: Found, { registry }: Context, apply: (object: KubeObject) => void): Promise<void> {
  const { namespace = '', name = '', uid = '' } = object.metadata;
  await registry.modify(kind, namespace, name, (current) => { apply(current); return current; }, { preconditions: { uid } }).catch(ignoreMissing);
}

function ignoreMissing(error: unknown): void {
  if (!isNotFound(error)) throw error;
}
