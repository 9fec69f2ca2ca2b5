import { decode } from '../../shared/decode.ts';
import type { Kind, Scale } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { dflt, int32, obj, opt, req, str } from '../../shared/schema.ts';
import { ObjectMeta } from '../../shared/meta.ts';
import { badRequest, fieldInvalid, invalid, notFound } from '../../shared/status.ts';

/** `autoscaling/v1` Scale: what the scale subresource of any kind reads and writes. */
export const ScaleSchema = obj('autoscaling.v1.Scale', {
  apiVersion: opt(str(), 'Versioned schema of this representation.'),
  kind: opt(str(), 'Kind of this object.'),
  metadata: opt(ObjectMeta, 'Metadata of the scaled object.'),
  spec: opt(obj('autoscaling.v1.ScaleSpec', { replicas: dflt(int32(), 0, 'Desired number of instances.') }), 'Desired scale.'),
  status: opt(obj('autoscaling.v1.ScaleStatus', {
    replicas: req(int32(), 'Observed number of instances.'), selector: opt(str(), 'Label selector of the instances, in string form.'),
  }), 'Observed scale.'),
}, 'The number of instances of a scalable resource.');

export interface ScaleObject extends KubeObject {
  spec?: { replicas: number };
  status?: { replicas: number; selector?: string };
}

function scaleOf<T extends KubeObject>(kind: Kind<T>, name: string): Scale<T> {
  if (!kind.scale) throw notFound(kind, name);
  return kind.scale;
}

/** The Scale of a stored object. @throws StatusError 404 for a kind without one */
export function toScale<T extends KubeObject>(kind: Kind<T>, object: T): ScaleObject {
  const { metadata } = object;
  const scale = scaleOf(kind, metadata.name ?? '');
  const kept = { name: metadata.name, namespace: metadata.namespace, uid: metadata.uid, resourceVersion: metadata.resourceVersion, creationTimestamp: metadata.creationTimestamp };
  return {
    kind: 'Scale', apiVersion: 'autoscaling/v1',
    metadata: Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined)),
    spec: { replicas: scale.replicas(object) },
    status: { replicas: scale.statusReplicas(object), selector: scale.selector(object) },
  };
}

/** Puts a Scale document's replicas into a private copy of the object. @throws StatusError 400, 422 */
export function fromScale<T extends KubeObject>(kind: Kind<T>, object: T, document: unknown): T {
  const { value } = decode<ScaleObject>(ScaleSchema, document, { complete: true });
  const name = object.metadata.name ?? '';
  if (value.metadata?.name && value.metadata.name !== name) throw badRequest(`the name of the object (${value.metadata.name}) does not match the name on the URL (${name})`);
  const replicas = value.spec?.replicas ?? 0;
  if (replicas < 0) throw invalid({ ...kind, kind: 'Scale', group: 'autoscaling' }, name, [fieldInvalid('spec.replicas', replicas, 'must be greater than or equal to 0')]);
  if (value.metadata?.resourceVersion) object.metadata.resourceVersion = value.metadata.resourceVersion;
  scaleOf(kind, name).setReplicas(object, replicas);
  return object;
}
