import { decode } from '../../shared/decode.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';

/** A pod as the API server would store it: defaulted, with a uid. */
export function podOf(name: string, spec: object, metadata: object = {}): Pod {
  const given = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'default', uid: `uid-${name}`, creationTimestamp: '2026-01-02T03:04:05Z', ...metadata }, spec };
  return decode<Pod>(pods.schema, given, { complete: true }).value;
}
