import { equal } from '../../shared/equal.ts';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { nodeOf, type Node } from '../../shared/schema.ts';
import { badRequest, StatusError, tooLarge } from '../../shared/status.ts';
import { childNode, isObject } from './field-set.ts';

export interface Patch {
  readonly type: 'json' | 'merge' | 'strategic';
  readonly body: unknown;
}

/**
 * Applies a patch to a document and returns the new one; `current` is not touched.
 * @throws StatusError 400 for a malformed patch, 422 for one that does not fit the document
 */
export function applyPatch(kind: Kind, current: KubeObject, patch: Patch): unknown {
  const document = structuredClone(current) as unknown;
  switch (patch.type) {
    case 'json': return jsonPatch(document, patch.body);
    case 'merge':
      if (!isObject(patch.body)) throw badRequest('Invalid JSON Patch');
      return mergePatch(document, patch.body);
    case 'strategic':
      if (!isObject(patch.body)) throw badRequest(`json: cannot unmarshal ${jsonType(patch.body)} into Go value of type map[string]interface {}`);
      return strategicObject(nodeOf(kind.schema), document, patch.body);
  }
}

const jsonType = (value: unknown): string => (Array.isArray(value) ? 'array' : typeof value === 'boolean' ? 'bool' : typeof value);

/** RFC 7386. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? target : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else put(result, key, mergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value));
  }
  return result;
}

/** Sets an own property, `__proto__` included. */
function put(target: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

// ---- RFC 6902

interface Operation { readonly op: string; readonly path: string; readonly from?: string; readonly value?: unknown }

/** A patch that does not fit its document; the apiserver does not say why. */
const unprocessable = (): StatusError => new StatusError(422, 'Invalid', 'the server rejected our request due to an error in our request', {});

/** Most operations of one JSON patch (apiserver's limit). */
const maxOperations = 10_000;

export function jsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest(`json: cannot unmarshal ${isObject(patch) ? 'object' : jsonType(patch)} into Go value of type jsonpatch.Patch`);
  if (patch.length > maxOperations) throw tooLarge(`Request entity too large: The allowed maximum operations in a JSON patch is ${maxOperations}, got ${patch.length}`);
  let result = document;
  for (const operation of patch) result = applyOperation(result, checkOperation(operation));
  return result;
}

function checkOperation(input: unknown): Operation {
  if (!isObject(input)) throw badRequest(`json: cannot unmarshal ${jsonType(input)} into Go value of type jsonpatch.Operation`);
  const needsFrom = input['op'] === 'move' || input['op'] === 'copy';
  if (typeof input['op'] !== 'string' || typeof input['path'] !== 'string' || (needsFrom && typeof input['from'] !== 'string')) throw unprocessable();
  return input as unknown as Operation;
}

function applyOperation(document: unknown, operation: Operation): unknown {
  const { op, path } = operation;
  switch (op) {
    case 'add': return add(document, path, operation.value);
    case 'remove': return remove(document, path);
    case 'replace':
      if (path !== '') read(document, path);
      return path === '' ? operation.value : add(remove(document, path), path, operation.value);
    case 'move': {
      // Nothing can be moved into itself (RFC 6902, 4.4): it would be its own part.
      if (path.startsWith(`${operation.from}/`)) throw unprocessable();
      const value = read(document, operation.from!);
      return add(remove(document, operation.from!), path, value);
    }
    case 'copy': return add(document, path, structuredClone(read(document, operation.from!)));
    case 'test': {
      const value = tryRead(document, path);
      if (!equal(value, operation.value ?? undefined) && !(value == null && operation.value == null)) throw unprocessable();
      return document;
    }
    default: throw unprocessable();
  }
}

function pointer(path: string): string[] {
  if (path === '') return [];
  if (!path.startsWith('/')) throw unprocessable();
  return path.slice(1).split('/').map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function tryRead(document: unknown, path: string): unknown {
  let at = document;
  for (const part of pointer(path)) {
    if (Array.isArray(at)) at = at[arrayIndex(part, at.length - 1) ?? -1];
    else if (isObject(at) && Object.hasOwn(at, part)) at = at[part];
    else return undefined;
  }
  return at;
}

function read(document: unknown, path: string): unknown {
  const value = tryRead(document, path);
  if (value === undefined) throw unprocessable();
  return value;
}

/** Index of an array reference, or undefined when it is none or lies beyond `last`. */
function arrayIndex(part: string, last: number): number | undefined {
  if (!/^(?:0|[1-9]\d*)$/.test(part)) return undefined;
  const index = Number(part);
  return index <= last ? index : undefined;
}

function parentOf(document: unknown, path: string): { parent: unknown; key: string } {
  const parts = pointer(path);
  const key = parts.pop()!;
  const parent = parts.length === 0 ? document : tryRead(document, `/${parts.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/')}`);
  if (typeof parent !== 'object' || parent === null) throw unprocessable();
  return { parent, key };
}

function add(document: unknown, path: string, value: unknown): unknown {
  if (path === '') return value;
  const { parent, key } = parentOf(document, path);
  if (Array.isArray(parent)) {
    const index = key === '-' ? parent.length : arrayIndex(key, parent.length);
    if (index === undefined) throw unprocessable();
    parent.splice(index, 0, value);
  } else put(parent as Record<string, unknown>, key, value);
  return document;
}

function remove(document: unknown, path: string): unknown {
  read(document, path);
  const { parent, key } = parentOf(document, path);
  if (Array.isArray(parent)) parent.splice(Number(key), 1);
  else delete (parent as Record<string, unknown>)[key];
  return document;
}

// ---- strategic merge (k8s.io/apimachinery/pkg/util/strategicpatch)

/** What the apiserver has no status for: a 500 without a reason. */
const unexplained = (message: string): StatusError => new StatusError(500, '', message);

/** A JSON value as Go prints one: `map[a:1 b:[x y]]`. */
export function goText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(goText).join(' ')}]`;
  if (!isObject(value)) return value === null ? '<nil>' : String(value);
  return `map[${Object.keys(value).sort().map((key) => `${key}:${goText(value[key])}`).join(' ')}]`;
}

const deleteFromList = '$deleteFromPrimitiveList/';
const elementOrder = '$setElementOrder/';

function strategicObject(node: Node | undefined, original: unknown, patch: Record<string, unknown>): unknown {
  const directive = patch['$patch'];
  if (directive === 'replace') return withoutDirectives(patch);
  if (directive === 'delete') return {};
  if (directive !== undefined && directive !== 'merge') throw unexplained(`unknown patch type: ${String(directive)} in map: ${goText(patch)}`);
  const result: Record<string, unknown> = isObject(original) ? original : {};
  retainKeys(result, patch);
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(deleteFromList)) removeScalars(result, key.slice(deleteFromList.length), value);
    else if (!key.startsWith('$')) strategicField(node, result, key, value, patch[`${elementOrder}${key}`]);
  }
  for (const [key, order] of Object.entries(patch)) {
    // An order without a change still reorders.
    const field = key.slice(elementOrder.length);
    if (key.startsWith(elementOrder) && patch[field] === undefined && result[field] !== undefined) strategicField(node, result, field, [], order);
  }
  return result;
}

function retainKeys(result: Record<string, unknown>, patch: Record<string, unknown>): void {
  const retained = patch['$retainKeys'];
  if (retained === undefined) return;
  if (!Array.isArray(retained)) throw badRequest('invalid patch format of retainKeys');
  for (const key of Object.keys(result)) if (!retained.includes(key)) delete result[key];
}

function removeScalars(result: Record<string, unknown>, field: string, values: unknown): void {
  const list = result[field];
  if (!Array.isArray(values)) throw badRequest(`expected a list for ${deleteFromList}${field}`);
  if (Array.isArray(list)) result[field] = list.filter((item) => !values.some((value) => equal(item, value)));
}

function strategicField(node: Node | undefined, result: Record<string, unknown>, key: string, value: unknown, order: unknown): void {
  const field = node && childNode(node, key);
  const original = Object.hasOwn(result, key) ? result[key] : undefined;
  if (value === null) delete result[key];
  else if (isObject(value)) put(result, key, field?.facts.preserveUnknown ? mergePatch(original, value) : strategicObject(field, original, value));
  else if (Array.isArray(value) && field?.facts.patchStrategy?.includes('merge')) put(result, key, strategicList(field, Array.isArray(original) ? original : [], value, order));
  else put(result, key, withoutDirectives(value));
}

function strategicList(node: Node, original: unknown[], patch: unknown[], order: unknown): unknown[] {
  const mergeKey = node.facts.patchMergeKey ?? '';
  const identity = (item: unknown): unknown => (mergeKey === '' ? item : isObject(item) ? item[mergeKey] : undefined);
  if (patch.some((item) => isObject(item) && item['$patch'] === 'replace')) {
    return patch.filter((item) => !(isObject(item) && item['$patch'] === 'replace')).map(withoutDirectives);
  }
  const result = [...original];
  for (const item of patch) mergeItem(node, result, item, mergeKey, identity);
  return reorder(result, original, Array.isArray(order) ? order : patch.filter((item) => !isObject(item) || item['$patch'] === undefined), identity);
}

function mergeItem(node: Node, result: unknown[], item: unknown, mergeKey: string, identity: (item: unknown) => unknown): void {
  if (mergeKey !== '' && !isObject(item)) throw badRequest(`expected an object with merge key ${mergeKey} in a patched list`);
  const id = identity(item);
  if (id === undefined) throw unexplained(`map: ${goText(item)} does not contain declared merge key: ${mergeKey}`);
  const index = result.findIndex((existing) => equal(identity(existing), id));
  if (mergeKey === '') {
    if (index < 0) result.push(item);
    return;
  }
  if ((item as Record<string, unknown>)['$patch'] === 'delete') {
    for (let i = result.length - 1; i >= 0; i--) if (equal(identity(result[i]), id)) result.splice(i, 1);
  } else if (index < 0) result.push(strategicObject(node.item, {}, item as Record<string, unknown>));
  else result[index] = strategicObject(node.item, result[index], item as Record<string, unknown>);
}

/** Items named by the order in that order; the others are put in before the first that they stood before, or at the end (`mergeSortedSlice`). */
function reorder(items: unknown[], original: unknown[], order: unknown[], identity: (item: unknown) => unknown): unknown[] {
  const wanted = order.map((entry) => (isObject(entry) ? identity(entry) : entry));
  const rank = (item: unknown): number => wanted.findIndex((id) => equal(id, identity(item)));
  const before = (item: unknown): number => original.findIndex((existing) => equal(identity(existing), identity(item)));
  const named = items.filter((item) => rank(item) >= 0).sort((a, b) => rank(a) - rank(b));
  const rest = items.filter((item) => rank(item) < 0);
  const result: unknown[] = [];
  for (const item of named) {
    const at = before(item);
    while (at >= 0 && rest.length > 0 && before(rest[0]) >= 0 && before(rest[0]) < at) result.push(rest.shift());
    result.push(item);
  }
  return [...result, ...rest];
}

function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((item) => !(isObject(item) && item['$patch'] === 'delete')).map(withoutDirectives);
  if (!isObject(value)) return value;
  const kept = Object.entries(value).filter(([key, child]) => child !== null && key !== '$patch' && key !== '$retainKeys' && !key.startsWith(elementOrder) && !key.startsWith(deleteFromList));
  return Object.fromEntries(kept.map(([key, child]) => [key, withoutDirectives(child)]));
}
