import type { Column } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { badRequest } from '../../shared/status.ts';
import { jsonList, type EncodeOptions, type Encoder, type Item, type ListMeta } from './encoder.ts';
import { partialObject } from './partial.ts';
import type { Query } from './query.ts';

/** `includeObject` of a table request. @throws StatusError 400 */
export function includeObject(query: Query): EncodeOptions['includeObject'] {
  const policy = query.get('includeObject') || 'Metadata';
  if (policy === 'None' || policy === 'Metadata' || policy === 'Object') return policy;
  throw badRequest(`TableOptions.meta.k8s.io "" is invalid: includeObject: Unsupported value: ${JSON.stringify(policy)}: supported values: "", "Metadata", "None", "Object"`);
}

/** The `meta.k8s.io` Table that `kubectl get` prints: the kind's columns, and a row of cells per object. */
export function tableEncoder({ kind, representation, includeObject: policy, now }: EncodeOptions): Encoder {
  const { version } = representation;
  const definitions = JSON.stringify(kind.columns.map(definition));
  const opening = (metadata: string, columns: string): string =>
    `{"kind":"Table","apiVersion":"meta.k8s.io/${version}","metadata":${metadata},"columnDefinitions":${columns},"rows":[`;
  const row = (item: Item): string => rowText(kind.columns, item, policy, version, now());
  const event = (item: Item, columns: string): Buffer =>
    Buffer.from(`${opening(`{"resourceVersion":${JSON.stringify(item.object.metadata.resourceVersion)}}`, columns)}${row(item)}]}`);
  return {
    one: (item) => event(item, definitions),
    open: (meta: ListMeta) => Buffer.from(opening(JSON.stringify(meta), definitions)),
    item: (item) => Buffer.from(row(item)),
    ...jsonList,
    // kubectl remembers the columns of the first event.
    event: (item, first) => event(item, first ? definitions : 'null'),
    bookmark: (resourceVersion, annotations) => Buffer.from(bookmarkTable(opening(JSON.stringify({ resourceVersion }), 'null'), kind, resourceVersion, annotations)),
  };
}

/** A bookmark's table has one row without cells, whose object carries the annotations. */
function bookmarkTable(opening: string, { kind, apiVersion }: { kind: string; apiVersion: string }, resourceVersion: string, annotations?: Readonly<Record<string, string>>): string {
  const object = { kind, apiVersion, metadata: { resourceVersion, creationTimestamp: null, ...(annotations ? { annotations } : {}) } };
  return `${opening}${JSON.stringify({ cells: [], object })}]}`;
}

function definition(column: Column<KubeObject>): Record<string, unknown> {
  const { name, type, description, priority } = column;
  return { name, type, format: name === 'Name' ? 'name' : '', description, priority: priority ?? 0 };
}

function rowText(columns: readonly Column<KubeObject>[], item: Item, policy: EncodeOptions['includeObject'], version: string, nowMs: number): string {
  const cells = JSON.stringify(columns.map((column) => column.cell(item.object, nowMs)));
  return `{"cells":${cells}${objectText(item, policy, version)}}`;
}

function objectText(item: Item, policy: EncodeOptions['includeObject'], version: string): string {
  switch (policy) {
    case 'None': return '';
    case 'Metadata': return `,"object":${JSON.stringify(partialObject(item, version))}`;
    case 'Object': return `,"object":${Buffer.from(item.bytes).toString()}`;
  }
}
