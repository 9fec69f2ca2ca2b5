import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { badRequest } from '../../shared/status.ts';
import { parseFieldSelector, parseSelector, type FieldSelector } from '../../shared/selector.ts';
import type { ListOptions } from './options.ts';

/** Which objects of a kind a list or watch is about, compiled from its query. */
export interface Selection {
  /** Name that `metadata.name=` asks for; '' for any. */
  readonly name: string;
  /** Namespace of the URL, or that `metadata.namespace=` asks for; '' for all. */
  readonly namespace: string;
  /** True when every object in scope of {@link name} and {@link namespace} is selected. */
  readonly everything: boolean;
  /** Canonical text: equal for equal selections. */
  readonly key: string;
  matches(object: KubeObject): boolean;
  /** False only when the document cannot match; saves parsing it. */
  mayMatch(bytes: Uint8Array): boolean;
}

/** Compiles the selectors of a query. @throws StatusError 400 for bad syntax or a field that the kind does not select by */
export function selectionOf(kind: Kind, namespace: string, name: string, options: ListOptions): Selection {
  const labels = parseSelector(options.labelSelector);
  const fields = parseFields(kind, options.fieldSelector);
  const pinned = pin(fields, namespace, name);
  const everything = labels.empty && pinned.covers;
  const needles = labels.requirements.flatMap(({ key, operator, values }) =>
    (operator === '=' || operator === '==' ? [`${JSON.stringify(key)}:${JSON.stringify(values[0])}`] : []));
  return {
    name: pinned.name, namespace: pinned.namespace, everything,
    key: `${pinned.namespace}\n${pinned.name}\n${labels.toString()}\n${fields.toString()}`,
    matches: (object) => labels.matches(object.metadata.labels) && fields.matches((field) => fieldValue(kind, object, field)),
    // A matching document holds each wanted label exactly as JSON.stringify writes it.
    mayMatch: (bytes) => needles.every((needle) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(needle)),
  };
}

function parseFields(kind: Kind, text: string): FieldSelector {
  const fields = parseFieldSelector(text);
  for (const { field } of fields.requirements) {
    if (field === 'metadata.name' || (field === 'metadata.namespace' && kind.namespaced)) continue;
    if (!Object.hasOwn(kind.selectableFields ?? {}, field)) throw badRequest(unsupported(kind, field));
  }
  return fields;
}

/** Kinds of the legacy scheme name the label in quotes; the generic converter does not. */
function unsupported(kind: Kind, field: string): string {
  return kind.selectableFields ? `field label not supported: ${field}` : `${JSON.stringify(field)} is not a known field selector: only "metadata.name", "metadata.namespace"`;
}

function pin(fields: FieldSelector, namespace: string, name: string): { name: string; namespace: string; covers: boolean } {
  let covers = true;
  const pinned = { name, namespace };
  for (const { field, operator, value } of fields.requirements) {
    const part = field === 'metadata.name' ? 'name' : field === 'metadata.namespace' ? 'namespace' : undefined;
    if (part && operator === '=' && value && (pinned[part] === '' || pinned[part] === value)) pinned[part] = value;
    else covers = false;
  }
  return { ...pinned, covers };
}

function fieldValue(kind: Kind, object: KubeObject, field: string): string {
  if (field === 'metadata.name') return object.metadata.name ?? '';
  if (field === 'metadata.namespace') return object.metadata.namespace ?? '';
  return kind.selectableFields![field]!(object);
}
