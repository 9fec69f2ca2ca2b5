import { decode } from '../../shared/decode.ts';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { nodeOf, type Node } from '../../shared/schema.ts';
import { badRequest, StatusError, type StatusCause } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import { childNode, difference, FieldSet, fieldSetOf, intersection, isObject, itemElement, memberElement, ownership, pathString, step, union } from './field-set.ts';
import { appliedByClient, kubectl, syncLastApplied } from './last-applied.ts';
import { changedFields, keepOtherPart, ownedFields, parseManagers, storeManagers, type Manager } from './managed-fields.ts';

export interface ApplyOptions {
  readonly manager: string;
  /** Take fields that others own instead of refusing. */
  readonly force: boolean;
  readonly nowMs: number;
  readonly subresource?: string;
}

/**
 * Server-side apply: merges an apply configuration into the live object and keeps account of who owns what.
 * Returns a new document, not yet defaulted or validated; `current` is not touched.
 * @throws StatusError 400 for a configuration that the schema does not know, 409 with one cause per conflicting field
 */
export function serverSideApply(kind: Kind, current: KubeObject | undefined, config: unknown, options: ApplyOptions): KubeObject {
  const wanted = readConfig(kind, config, options.subresource);
  const live = current ? structuredClone(current) : undefined;
  const managers = live ? parseManagers(live) : [];
  const isMine = ({ entry }: Manager): boolean =>
    entry.manager === options.manager && entry.operation === 'Apply' && (entry.subresource ?? '') === (options.subresource ?? '');
  const mine = managers.find(isMine);
  const others = managers.filter((manager) => !isMine(manager));
  const applied = ownedFields(kind, wanted);
  keepOtherPart(kind, applied, options.subresource);
  const node = nodeOf(kind.schema);
  const merged = live ? merge(node, live, wanted) as KubeObject : wanted;
  const taken = live ? takenFields(kind, live, merged, applied) : applied;
  const free = live && options.manager === kubectl ? appliedByClient(kind, live) : new FieldSet();
  const kept = settleConflicts(others, taken, options.force, free);
  // The whole configuration: its name keeps the metadata, which nobody owns.
  if (mine) prune(node, merged, mine.fields, kept.reduce((sum, { fields }) => union(sum, fields), fieldSetOf(node, wanted)));
  const unchanged = mine && JSON.stringify(mine.fields.toJSON()) === JSON.stringify(applied.toJSON());
  const entry = {
    manager: options.manager, operation: 'Apply', apiVersion: kind.apiVersion,
    time: unchanged && taken.empty && mine.entry.time ? mine.entry.time : toTime(options.nowMs),
    ...(options.subresource ? { subresource: options.subresource } : {}),
  };
  storeManagers(merged, [...kept, { entry, fields: applied }]);
  if (live && options.manager === kubectl) syncLastApplied(merged, config);
  return merged;
}

/** The configuration without the part (status, or all else) that this write has no say in. */
function readConfig(kind: Kind, config: unknown, subresource: string | undefined): KubeObject {
  const { value, unknown } = decode<KubeObject>(kind.schema, config, { complete: false });
  if (value.metadata?.managedFields) throw badRequest('metadata.managedFields must be nil');
  if (unknown.length > 0) throw untyped(kind, value, unknown.map((path) => `.${path}: field not declared in schema`));
  if (!kind.status) return value;
  const { status, ...rest } = value as KubeObject & { status?: unknown };
  if (subresource !== 'status') return rest;
  return { apiVersion: value.apiVersion, kind: value.kind, metadata: value.metadata, ...(status === undefined ? {} : { status }) } as KubeObject;
}

/** As apiserver says it, a 500 without a reason, when a configuration does not fit the schema. */
function untyped(kind: Kind, { metadata }: KubeObject, problems: readonly string[]): StatusError {
  const what = problems.length === 1 ? problems[0]! : `errors:\n${problems.map((problem) => `  ${problem}`).join('\n')}`;
  return new StatusError(500, '', `failed to create typed patch object (${metadata?.namespace ?? ''}/${metadata?.name ?? ''}; ${kind.group}/${kind.version}, Kind=${kind.kind}): ${what}`);
}

/** Fields of the configuration whose value it changes, or that were not there before. */
function takenFields(kind: Kind, live: unknown, merged: unknown, applied: FieldSet): FieldSet {
  const before = ownedFields(kind, live);
  return union(changedFields(kind, live, merged, intersection(applied, before)), difference(applied, before));
}

/** The other managers without what is taken from them; of that, `free` may be taken without force. */
function settleConflicts(others: readonly Manager[], taken: FieldSet, force: boolean, free: FieldSet): Manager[] {
  const conflicts = others.flatMap((manager) => [...difference(intersection(manager.fields, taken), free).paths()].map((path) => ({ manager, path })));
  if (conflicts.length > 0 && !force) throw conflictError(conflicts);
  return others.map(({ entry, fields }) => ({ entry, fields: difference(fields, taken) }));
}

interface Conflict { readonly manager: Manager; readonly path: readonly string[] }

function conflictError(conflicts: readonly Conflict[]): StatusError {
  const causes: StatusCause[] = conflicts.map(({ manager, path }) => ({
    reason: 'FieldManagerConflict', message: `conflict with ${describe(manager)}`, field: pathString(path),
  }));
  return new StatusError(409, 'Conflict', conflictMessage(conflicts), { causes });
}

function conflictMessage(conflicts: readonly Conflict[]): string {
  const [first] = conflicts;
  if (conflicts.length === 1) return `Apply failed with 1 conflict: conflict with ${describe(first!.manager)}: ${pathString(first!.path)}`;
  const byManager = new Map<string, string[]>();
  for (const { manager, path } of conflicts) {
    const name = describe(manager);
    byManager.set(name, [...byManager.get(name) ?? [], `- ${pathString(path)}`]);
  }
  const parts = [...byManager].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, paths]) => `conflicts with ${name}:\n${paths.join('\n')}`);
  return `Apply failed with ${conflicts.length} conflicts: ${parts.join('\n')}`;
}

/** A manager as apiserver's `printManager` words it. */
function describe({ entry }: Manager): string {
  const name = `${JSON.stringify(entry.manager)}${entry.subresource ? ` with subresource ${JSON.stringify(entry.subresource)}` : ''}`;
  if (entry.operation !== 'Update') return name;
  return `${name} using ${entry.apiVersion}${entry.time ? ` at ${entry.time}` : ''}`;
}

/** Configuration over live: fields one by one, keyed lists item by item, sets joined, the rest replaced. */
function merge(node: Node | undefined, live: unknown, wanted: unknown): unknown {
  switch (ownership(node, wanted)) {
    case 'leaf': return wanted;
    case 'fields': {
      const result: Record<string, unknown> = isObject(live) ? { ...live } : {};
      for (const [key, child] of Object.entries(wanted as object)) {
        Object.defineProperty(result, key, { value: merge(childNode(node!, key), result[key], child), enumerable: true, configurable: true, writable: true });
      }
      return result;
    }
    case 'items': return mergeLists(live, wanted as unknown[], (item) => itemElement(node!, item), (old, item) => merge(node!.item, old, item));
    case 'members': return mergeLists(live, wanted as unknown[], memberElement, (_, item) => item);
  }
}

/**
 * Items of both, each once: where the two agree on an order it holds, and items that only the live list has come before
 * what the configuration adds at their place (structured-merge-diff's `visitListItems`).
 */
function mergeLists(live: unknown, wanted: readonly unknown[], key: (item: unknown) => string, mergeItem: (old: unknown, item: unknown) => unknown): unknown[] {
  const old = (Array.isArray(live) ? live : []).map((item: unknown) => ({ key: key(item), item }));
  const byKey = new Map(old.map((entry) => [entry.key, entry.item]));
  const asked = wanted.map((item) => ({ key: key(item), item }));
  const askedKeys = new Set(asked.map((entry) => entry.key));
  const shared = asked.filter((entry) => byKey.has(entry.key)).map((entry) => entry.key);
  const merged = new Set<string>();
  const result: unknown[] = [];
  const take = ({ key: id, item }: { key: string; item: unknown }): void => {
    if (shared[0] === id) shared.shift();
    merged.add(id);
    result.push(mergeItem(byKey.get(id), item));
  };
  let at = 0;
  for (const entry of asked) {
    for (; at < old.length && old[at]!.key !== entry.key; at++) {
      const here = old[at]!;
      if (!askedKeys.has(here.key)) result.push(here.item);
      // A shared item whose turn has not come: what the configuration puts before it goes first.
      else if (!merged.has(here.key) && here.key === shared[0]) break;
    }
    if (old[at]?.key === entry.key) at++;
    take(entry);
  }
  for (; at < old.length; at++) if (!askedKeys.has(old[at]!.key)) result.push(old[at]!.item);
  return result;
}

/**
 * Removes what this manager owned in its last configuration and nobody owns now, itself included. A field that the schema
 * names goes as a whole, defaults in it included, once nothing in it is owned. Mutates `document`.
 */
function prune(node: Node | undefined, parent: unknown, last: FieldSet, owned: FieldSet): void {
  for (const [element, child] of last.children) {
    const owners = owned.children.get(element) ?? nobody;
    const { node: below, value } = step(node, parent, element);
    if (value === undefined) continue;
    const named = node?.type === 'object' && element.startsWith('f:');
    if ((child.member || named) && owners.empty) remove(parent, element, value);
    else prune(below, value, child, owners);
  }
}

const nobody = new FieldSet();

function remove(parent: unknown, element: string, value: unknown): void {
  if (Array.isArray(parent)) parent.splice(parent.indexOf(value), 1);
  else delete (parent as Record<string, unknown>)[element.slice(2)];
}
