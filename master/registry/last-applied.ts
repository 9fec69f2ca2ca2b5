import { decode } from '../../shared/decode.ts';
import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { difference, FieldSet, intersection, isObject } from './field-set.ts';
import { changedFields, ownedFields } from './managed-fields.ts';

/** Where `kubectl apply` without `--server-side` keeps what it applied last. */
const annotation = 'kubectl.kubernetes.io/last-applied-configuration';

/** The manager whose server-side apply continues what client-side apply began (apiserver's `lastAppliedManager`). */
export const kubectl = 'kubectl';

/** Fields that client-side apply set and nobody has changed since: kubectl may take them without force. */
export function appliedByClient(kind: Kind, live: KubeObject): FieldSet {
  const last = parse(live.metadata.annotations?.[annotation]);
  if (!last || last['apiVersion'] !== kind.apiVersion) return new FieldSet();
  const { value } = decode<KubeObject>(kind.schema, last, { complete: false });
  const [applied, there] = [ownedFields(kind, value), ownedFields(kind, live)];
  const common = intersection(applied, there);
  return difference(common, changedFields(kind, value, live, common));
}

/** Keeps the annotation of client-side apply in step, where there is one. Mutates `object`. */
export function syncLastApplied(object: KubeObject, config: unknown): void {
  const { annotations } = object.metadata;
  if (!annotations?.[annotation] || !isObject(config)) return;
  const metadata = isObject(config['metadata']) ? { ...config['metadata'] } : {};
  delete metadata['managedFields'];
  if (isObject(metadata['annotations'])) {
    const { [annotation]: _own, ...others } = metadata['annotations'];
    metadata['annotations'] = others;
  }
  object.metadata.annotations = { ...annotations, [annotation]: `${JSON.stringify(sorted({ ...config, metadata }))}\n` };
}

/** With keys in order, as Go writes maps. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

function parse(text: string | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = text ? JSON.parse(text) : undefined;
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
