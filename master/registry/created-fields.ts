import type { Kind } from '../../shared/kind.ts';
import { nodeOf, type Node } from '../../shared/schema.ts';
import { childNode, itemElement, memberElement, ownership } from './field-set.ts';

type FieldsV1 = Record<string, unknown>;

/** A leaf: the path is owned, nothing is below it. One for all, as stored objects are never changed. */
const leaf: FieldsV1 = Object.freeze({});

/** Of every object, fields that nobody owns (apiserver's `stripMeta`). */
export const unownedMetadata: ReadonlySet<string> = new Set([
  'name', 'namespace', 'creationTimestamp', 'selfLink', 'uid', 'generation', 'managedFields', 'resourceVersion', 'deletionTimestamp',
  'deletionGracePeriodSeconds', 'generateName',
]);

/**
 * What a creation owns, in the form in which it is stored: every field that there is, but not the parts (metadata, spec)
 * and the lists that they must have, which Go's empty object has already. Made without the algebra of `field-set.ts`,
 * as creations have nobody to take fields from.
 */
export function createdFields(kind: Kind, document: object, subresource: string | undefined): FieldsV1 {
  const root = nodeOf(kind.schema);
  const fields: FieldsV1 = {};
  for (const [name, value] of Object.entries(document)) {
    if (name === 'apiVersion' || name === 'kind' || (kind.status && (name === 'status') !== (subresource === 'status'))) continue;
    const node = childNode(root, name);
    if (node?.type !== 'object') fields[fieldElement(root, name)] = owned(node, value);
    else {
      const part = ownership(node, value) === 'fields' ? ownedPart(node, value as object, name === 'metadata') : leaf;
      if (Object.keys(part).length > 0) fields[fieldElement(root, name)] = part;
    }
  }
  return fields;
}

function ownedPart(node: Node, part: object, isMetadata: boolean): FieldsV1 {
  const fields: FieldsV1 = {};
  for (const [name, value] of Object.entries(part)) {
    if (isMetadata && unownedMetadata.has(name)) continue;
    const child = node.fields.get(name);
    const given = child !== undefined && child.required && child.type === 'array';
    fields[fieldElement(node, name)] = owned(child, value, !given);
  }
  return fields;
}

/** A value that is owned with all that is in it; `itself` false leaves out the path to it. */
function owned(node: Node | undefined, value: unknown, itself = true): FieldsV1 {
  const how = ownership(node, value);
  if (how === 'leaf') return leaf;
  const fields: FieldsV1 = itself ? { '.': leaf } : {};
  switch (how) {
    case 'fields': for (const [key, child] of Object.entries(value as object)) fields[fieldElement(node!, key)] = owned(childNode(node!, key), child); break;
    case 'items': for (const item of value as unknown[]) fields[itemElement(node!, item)] = owned(node!.item, item); break;
    case 'members': for (const member of value as unknown[]) fields[memberElement(member)] = leaf; break;
  }
  // What is empty is a leaf, whose mark is to have nothing.
  return Object.keys(fields).length === (itself ? 1 : 0) ? leaf : fields;
}

/** `f:name`, made once per field of a schema. */
function fieldElement(node: Node, name: string): string {
  if (node.type !== 'object') return `f:${name}`;
  let elements = elementsOf.get(node);
  if (!elements) elementsOf.set(node, elements = new Map([...node.fields.keys()].map((field) => [field, `f:${field}`])));
  return elements.get(name) ?? `f:${name}`;
}

/** A memo: a pure function of its node. */
const elementsOf = new WeakMap<Node, Map<string, string>>();
