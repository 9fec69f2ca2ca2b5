import type { Kind } from '../../shared/kind.ts';
import type { KubeObject, ManagedFieldsEntry } from '../../shared/meta.ts';
import { nodeOf, type Node } from '../../shared/schema.ts';
import { toTime } from '../../shared/time.ts';
import { createdFields, unownedMetadata } from './created-fields.ts';
import { difference, FieldSet, fieldSetOf, intersection, step, union } from './field-set.ts';
import type { WriteOptions } from './types.ts';

/** One manager's fields, parsed. */
export interface Manager {
  readonly entry: Omit<ManagedFieldsEntry, 'fieldsV1'>;
  readonly fields: FieldSet;
}

/** Update managers beyond this many are merged into one, oldest first (apiserver's `DefaultMaxUpdateManagers`). */
const maxUpdateManagers = 10;

/** Fields that nobody owns (apiserver's `stripMeta`). */
const unowned: readonly (readonly string[])[] = [
  ['f:apiVersion'], ['f:kind'], ['f:metadata'],
  ...[...unownedMetadata].map((field) => ['f:metadata', `f:${field}`]),
];

/**
 * The fields of a document that somebody can own by writing it. With `containers` those that hold others count too:
 * an update owns them where it made them.
 */
export function ownedFields(kind: Kind, document: unknown, containers = false): FieldSet {
  const set = fieldSetOf(nodeOf(kind.schema), document, new FieldSet(), containers);
  set.member = false;
  for (const path of unowned) {
    const parent = set.at(path.slice(0, -1));
    const child = parent?.children.get(path[path.length - 1]!);
    if (child && path.length > 1) parent!.delete(path[path.length - 1]!);
    else if (child) child.member = false;
  }
  for (const key of ['f:apiVersion', 'f:kind', 'f:metadata']) if (set.children.get(key)?.empty) set.delete(key);
  return set;
}

export function parseManagers(object: KubeObject): Manager[] {
  return (object.metadata.managedFields ?? []).map(({ fieldsV1, ...entry }) => ({ entry, fields: FieldSet.fromJSON(fieldsV1) }));
}

/** Order of apiserver's `sortEncodedManagedFields`: appliers first, then by time and name. */
function inOrder({ entry: a }: Manager, { entry: b }: Manager): number {
  const keys = (entry: Manager['entry']): readonly string[] =>
    [entry.operation ?? '', entry.time ?? '', entry.manager ?? '', entry.apiVersion ?? '', entry.subresource ?? ''];
  const [left, right] = [keys(a), keys(b)];
  const at = left.findIndex((key, index) => key !== right[index]);
  return at < 0 ? 0 : left[at]! < right[at]! ? -1 : 1;
}

/** Writes managers back, empty ones left out. Mutates `object`. */
export function storeManagers(object: KubeObject, managers: readonly Manager[]): void {
  const entries = managers.filter(({ fields }) => fields.children.size > 0).sort(inOrder)
    .map(({ entry, fields }) => ({ ...entry, fieldsType: 'FieldsV1', fieldsV1: fields.toJSON() }));
  if (entries.length > 0) object.metadata.managedFields = entries;
  else delete object.metadata.managedFields;
}

/** Paths that both documents have with different values; leaves only. */
export function changedFields(kind: Kind, a: unknown, b: unknown, common: FieldSet): FieldSet {
  const result = new FieldSet();
  collectChanges(nodeOf(kind.schema), a, b, common, result);
  return result;
}

function collectChanges(node: Node | undefined, a: unknown, b: unknown, common: FieldSet, into: FieldSet): void {
  for (const [element, child] of common.children) {
    const left = step(node, a, element);
    const right = step(node, b, element);
    if (child.children.size > 0) {
      const below = new FieldSet();
      collectChanges(left.node, left.value, right.value, child, below);
      if (!below.empty) into.set(element, below);
    } else if (child.member && JSON.stringify(left.value) !== JSON.stringify(right.value)) into.child(element).member = true;
  }
}

/**
 * Records who wrote what in `object.metadata.managedFields`, for every write but server-side apply: the writer takes what
 * it changed and added from all others, and what it removed is nobody's. Mutates `object`.
 */
export function trackFields(kind: Kind, old: KubeObject | undefined, object: KubeObject, options: WriteOptions, nowMs: number): void {
  const given = object.metadata.managedFields;
  // An explicit empty list resets ownership; apply has written its own already.
  if (options.fieldManager === undefined) {
    if (old?.metadata.managedFields && !given) object.metadata.managedFields = old.metadata.managedFields;
    return;
  }
  const reset = given !== undefined && (given.length === 0 || (given.length === 1 && Object.keys(given[0]!).length === 0));
  if (!old && (reset || !given)) return storeCreator(kind, object, options, nowMs);
  const base = reset ? [] : parseManagers(given ? object : old ?? object);
  storeManagers(object, withUpdate(kind, base, old, object, options, nowMs));
}

/** A new object has one manager, who owns all of it. */
function storeCreator(kind: Kind, object: KubeObject, options: WriteOptions, nowMs: number): void {
  const fieldsV1 = createdFields(kind, object, options.subresource);
  if (Object.keys(fieldsV1).length > 0) object.metadata.managedFields = [{ ...updateEntry(kind, options, object.metadata.creationTimestamp ?? toTime(nowMs)), fieldsType: 'FieldsV1', fieldsV1 }];
  else delete object.metadata.managedFields;
}

function withUpdate(kind: Kind, managers: readonly Manager[], old: KubeObject | undefined, object: KubeObject, options: WriteOptions, nowMs: number): Manager[] {
  const now = ownedFields(kind, object, true);
  const before = old ? ownedFields(kind, old, true) : new FieldSet();
  const common = intersection(now, before);
  const taken = union(difference(now, before), old ? changedFields(kind, old, object, common) : new FieldSet());
  keepOtherPart(kind, taken, options.subresource);
  const isWriter = ({ entry }: Manager): boolean =>
    entry.manager === options.fieldManager && entry.operation === 'Update' && (entry.subresource ?? '') === (options.subresource ?? '');
  const others = managers.filter((manager) => !isWriter(manager))
    .map(({ entry, fields }) => ({ entry, fields: intersection(difference(fields, taken), now) }));
  const mine = managers.find(isWriter);
  const fields = intersection(union(mine?.fields ?? new FieldSet(), taken), now);
  if (fields.empty) return others;
  const entry = updateEntry(kind, options, taken.empty && mine?.entry.time ? mine.entry.time : toTime(nowMs));
  return capUpdates([...others, { entry, fields }]);
}

const updateEntry = (kind: Kind, options: WriteOptions, time: string): Manager['entry'] => ({
  manager: options.fieldManager ?? '', operation: 'Update', apiVersion: kind.apiVersion, time,
  ...(options.subresource ? { subresource: options.subresource } : {}),
});

/** A write of the object does not own its status, a write of the status nothing else (`GetResetFields` in Kubernetes). Changes `fields`. */
export function keepOtherPart(kind: Kind, fields: FieldSet, subresource: string | undefined): void {
  if (!kind.status) return;
  if (subresource !== 'status') fields.delete('f:status');
  else for (const part of [...fields.children.keys()]) if (part !== 'f:status') fields.delete(part);
}

function capUpdates(managers: Manager[]): Manager[] {
  const updates = managers.filter(({ entry }) => entry.operation === 'Update');
  if (updates.length <= maxUpdateManagers) return managers;
  const [oldest, second] = [...updates].sort((a, b) => ((a.entry.time ?? '') < (b.entry.time ?? '') ? -1 : 1)) as [Manager, Manager];
  const merged: Manager = { entry: { ...second.entry, manager: 'ancient-changes' }, fields: union(oldest.fields, second.fields) };
  return [merged, ...managers.filter((manager) => manager !== oldest && manager !== second)];
}
