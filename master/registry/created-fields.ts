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
  const elements = elementsOf(root);
  for (const name of Object.keys(document)) {
    if (name === 'apiVersion' || name === 'kind' || (kind.status && (name === 'status') !== (subresource === 'status'))) continue;
    const value = (document as Record<string, unknown>)[name];
    const node = childNode(root, name);
    if (node?.type !== 'object') fields[elements.get(name)?.element ?? `f:${name}`] = owned(node, value);
    else if (ownership(node, value) === 'fields') {
      const part = ownedPart(node, value as Record<string, unknown>, name === 'metadata');
      if (!isEmpty(part)) fields[elements.get(name)!.element] = part;
    }
  }
  return fields;
}

function ownedPart(node: Node, part: Record<string, unknown>, isMetadata: boolean): FieldsV1 {
  const fields: FieldsV1 = {};
  const elements = elementsOf(node);
  for (const name of Object.keys(part)) {
    if (isMetadata && unownedMetadata.has(name)) continue;
    const field = elements.get(name);
    const child = field?.node;
    const given = child !== undefined && child.required && child.type === 'array';
    fields[field?.element ?? `f:${name}`] = owned(child, part[name], !given);
  }
  return fields;
}

function isEmpty(fields: FieldsV1): boolean {
  for (const _ in fields) return false;
  return true;
}

/** A value that is owned with all that is in it; `itself` false leaves out the path to it. */
function owned(node: Node | undefined, value: unknown, itself = true): FieldsV1 {
  // Most values are texts and numbers: nobody needs to ask how they are owned.
  if (typeof value !== 'object' || value === null) return leaf;
  const how = ownership(node, value);
  // What is empty is a leaf, whose mark is to have nothing.
  if (how === 'leaf' || isEmpty(value as FieldsV1)) return leaf;
  const fields: FieldsV1 = itself ? { '.': leaf } : {};
  switch (how) {
    case 'fields': addFields(node!, value as Record<string, unknown>, fields); break;
    case 'items': for (const item of value as unknown[]) fields[itemElement(node!, item)] = owned(node!.item, item); break;
    case 'members': for (const member of value as unknown[]) fields[memberElement(member)] = leaf; break;
  }
  return fields;
}

function addFields(node: Node, value: Record<string, unknown>, into: FieldsV1): void {
  if (node.type === 'object') {
    const elements = elementsOf(node);
    for (const name of Object.keys(value)) {
      const field = elements.get(name);
      into[field?.element ?? `f:${name}`] = owned(field?.node, value[name]);
    }
  } else for (const name of Object.keys(value)) into[`f:${name}`] = owned(node.item, value[name]);
}

/** A field of an object as it is named here, `f:name`, with its schema: one look-up for both. */
interface Field { readonly element: string; readonly node: Node }

/** A memo: a pure function of its node. */
const elements = new WeakMap<Node, ReadonlyMap<string, Field>>();

/** The fields of an object by name, made once. */
function elementsOf(node: Node): ReadonlyMap<string, Field> {
  let known = elements.get(node);
  if (!known) elements.set(node, known = new Map([...node.fields].map(([name, child]) => [name, { element: `f:${name}`, node: child }])));
  return known;
}
