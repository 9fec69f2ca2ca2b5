import type { Node } from '../../shared/schema.ts';

const none: ReadonlyMap<string, FieldSet> = new Map();

/**
 * A set of field paths as a tree. Path elements are keys of the `FieldsV1` format: `f:name` for a field or map key,
 * `k:{"name":"x"}` for an item of a keyed list, `v:"x"` for a member of a set.
 */
export class FieldSet {
  /** Whether the path that leads here is itself in the set. */
  member = false;
  /** Most nodes are leaves: they share one empty map. */
  #children: Map<string, FieldSet> | undefined;

  get children(): ReadonlyMap<string, FieldSet> {
    return this.#children ?? none;
  }

  get empty(): boolean {
    return !this.member && this.children.size === 0;
  }

  set(element: string, child: FieldSet): void {
    (this.#children ??= new Map<string, FieldSet>()).set(element, child);
  }

  delete(element: string): void {
    this.#children?.delete(element);
  }

  /** The child of a path element, made if absent. */
  child(element: string): FieldSet {
    let child = this.children.get(element);
    if (!child) this.set(element, child = new FieldSet());
    return child;
  }

  has(path: readonly string[]): boolean {
    return this.at(path)?.member ?? false;
  }

  at(path: readonly string[]): FieldSet | undefined {
    return path.reduce<FieldSet | undefined>((set, element) => set?.children.get(element), this);
  }

  /** Every path in the set, parents first. */
  *paths(prefix: readonly string[] = []): Generator<readonly string[]> {
    if (this.member) yield prefix;
    for (const [element, child] of this.children) yield* child.paths([...prefix, element]);
  }

  /** `FieldsV1`: `{}` is a member without children, `.` a member with them. */
  toJSON(): Record<string, unknown> {
    const json: Record<string, unknown> = {};
    if (this.member && this.children.size > 0) json['.'] = {};
    for (const [element, child] of this.children) json[element] = child.toJSON();
    return json;
  }

  static fromJSON(json: unknown): FieldSet {
    const set = new FieldSet();
    const entries = Object.entries((json ?? {}) as Record<string, unknown>);
    for (const [element, child] of entries) {
      if (element === '.') set.member = true;
      else set.set(element, FieldSet.fromJSON(child));
    }
    if (entries.length === 0) set.member = true;
    return set;
  }
}

/** Paths in either. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  const result = new FieldSet();
  result.member = a.member || b.member;
  for (const [element, child] of a.children) result.set(element, union(child, b.children.get(element) ?? new FieldSet()));
  for (const [element, child] of b.children) if (!a.children.has(element)) result.set(element, child);
  return result;
}

/** Paths in `a` and in `b`. */
export const intersection = (a: FieldSet, b: FieldSet): FieldSet => combine(a, b, (inA, inB) => inA && inB);
/** Paths in `a` and not in `b`. */
export const difference = (a: FieldSet, b: FieldSet): FieldSet => combine(a, b, (inA, inB) => inA && !inB);

function combine(a: FieldSet, b: FieldSet, keep: (inA: boolean, inB: boolean) => boolean): FieldSet {
  const result = new FieldSet();
  result.member = keep(a.member, b.member);
  for (const [element, child] of a.children) {
    const kept = combine(child, b.children.get(element) ?? new FieldSet(), keep);
    if (!kept.empty) result.set(element, kept);
  }
  return result;
}

export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** How a value is owned: as one, by field, by list item, or by set member. */
export type Ownership = 'leaf' | 'fields' | 'items' | 'members';

export function ownership(node: Node | undefined, value: unknown): Ownership {
  if (!node || node.facts.atomic || node.facts.preserveUnknown) return 'leaf';
  if (Array.isArray(value)) {
    if (node.facts.listType === 'map') return 'items';
    return node.facts.listType === 'set' ? 'members' : 'leaf';
  }
  return isObject(value) && (node.type === 'object' || node.type === 'record') ? 'fields' : 'leaf';
}

export const childNode = (node: Node, key: string): Node | undefined => (node.type === 'record' ? node.item : node.fields.get(key));

/** `k:{…}` of an item of a keyed list; keys that it leaves out take their schema's default. */
export function itemElement(node: Node, item: unknown): string {
  let text = '';
  if (isObject(item)) {
    for (const { label, name, fallback } of mapKeysOf(node)) {
      const value = item[name] ?? fallback;
      if (value !== undefined) text += `${text === '' ? '' : ','}${label}${JSON.stringify(value)}`;
    }
  }
  return `k:{${text}}`;
}

interface MapKey { readonly name: string; readonly label: string; readonly fallback: unknown }

/** A memo: a pure function of its node. */
const mapKeys = new WeakMap<Node, readonly MapKey[]>();

/** The keys of a keyed list, in order. */
function mapKeysOf(node: Node): readonly MapKey[] {
  let keys = mapKeys.get(node);
  if (!keys) {
    keys = [...node.facts.listMapKeys ?? []].sort().map((name) => ({ name, label: `${JSON.stringify(name)}:`, fallback: node.item?.fields.get(name)?.fallback }));
    mapKeys.set(node, keys);
  }
  return keys;
}

export const memberElement = (value: unknown): string => `v:${JSON.stringify(value)}`;

/**
 * Every field of a document. By default as structured-merge-diff's `ToFieldSet` has them, which is what an applier owns:
 * leaves, list items and map entries. With `containers`, the objects, maps and lists around them too, as its `Compare`
 * has them, which is what an update adds.
 */
export function fieldSetOf(node: Node | undefined, value: unknown, into = new FieldSet(), containers = false): FieldSet {
  // An empty list is a field of its own, as an empty object is.
  if (containers || (Array.isArray(value) && value.length === 0)) into.member = true;
  switch (ownership(node, value)) {
    case 'leaf': into.member = true; break;
    case 'fields': {
      const fields = Object.entries(value as object);
      if (fields.length === 0) into.member = true;
      for (const [key, child] of fields) fieldSetOf(childNode(node!, key), child, into.child(`f:${key}`), containers);
      break;
    }
    case 'items':
      for (const item of value as unknown[]) {
        const child = into.child(itemElement(node!, item));
        fieldSetOf(node!.item, item, child, containers);
        child.member = true;
      }
      break;
    case 'members': for (const item of value as unknown[]) into.child(memberElement(item)).member = true; break;
  }
  return into;
}

/** The value at a path element of a document, or undefined. */
export function step(node: Node | undefined, value: unknown, element: string): { node: Node | undefined; value: unknown } {
  const text = element.slice(2);
  if (element.startsWith('f:')) {
    return { node: node && childNode(node, text), value: isObject(value) && Object.hasOwn(value, text) ? value[text] : undefined };
  }
  const items = Array.isArray(value) ? value : [];
  if (element.startsWith('v:')) return { node: node?.item, value: items.find((item) => memberElement(item) === element) };
  return { node: node?.item, value: node && items.find((item) => itemElement(node, item) === element) };
}

/** `.spec.containers[name="web"].image`. */
export function pathString(path: readonly string[]): string {
  return path.map((element) => {
    const text = element.slice(2);
    if (element.startsWith('f:')) return `.${text}`;
    if (element.startsWith('v:')) return `[=${text}]`;
    return `[${Object.entries(JSON.parse(text) as object).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
  }).join('');
}
