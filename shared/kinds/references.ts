import type { InferOutput } from 'valibot';
import { atomicObj, bool, checked, dflt, int32, obj, opt, quantity, req, str } from '../schema.ts';

/** Unix permission bits. */
export function fileMode(): ReturnType<typeof int32> {
  return checked(int32(), (mode) => mode >= 0 && mode <= 0o777, 'must be a number between 0 and 0777 (octal), both inclusive');
}

export const LocalObjectReference = atomicObj('core.v1.LocalObjectReference', {
  name: dflt(str(), '', 'Name of the object, in the same namespace.'),
}, 'Names an object of the same namespace.');
export type LocalObjectReference = InferOutput<typeof LocalObjectReference>;

export const ObjectReference = atomicObj('core.v1.ObjectReference', {
  kind: opt(str(), 'Kind of the object.'),
  namespace: opt(str(), 'Namespace of the object.'),
  name: opt(str(), 'Name of the object.'),
  uid: opt(str(), 'UID of the object.'),
  apiVersion: opt(str(), 'API version of the object.'),
  resourceVersion: opt(str(), 'Version of the object that is meant.'),
  fieldPath: opt(str(), 'Part of the object that is meant, such as spec.containers{web}.'),
}, 'Names any object, or a part of one.');
export type ObjectReference = InferOutput<typeof ObjectReference>;

export const ConfigMapKeySelector = atomicObj('core.v1.ConfigMapKeySelector', {
  name: dflt(str(), '', 'Name of the config map.'),
  key: req(str(), 'Key within it.'),
  optional: opt(bool(), 'Whether the config map or key may be missing.'),
}, 'One key of a config map.');

export const SecretKeySelector = atomicObj('core.v1.SecretKeySelector', {
  name: dflt(str(), '', 'Name of the secret.'),
  key: req(str(), 'Key within it.'),
  optional: opt(bool(), 'Whether the secret or key may be missing.'),
}, 'One key of a secret.');

export const ObjectFieldSelector = atomicObj('core.v1.ObjectFieldSelector', {
  apiVersion: dflt(str(), 'v1', 'API version that the field path is written for.'),
  fieldPath: req(str(), 'Path of the field, such as metadata.name.'),
}, 'One field of the pod.');
export type ObjectFieldSelector = InferOutput<typeof ObjectFieldSelector>;

export const ResourceFieldSelector = atomicObj('core.v1.ResourceFieldSelector', {
  containerName: opt(str(), 'Container; required in volumes.'),
  resource: req(str(), 'Resource, such as limits.cpu.'),
  divisor: dflt(quantity(), '0', 'Unit of the output; 0 means 1.'),
}, 'One resource of a container.');
export type ResourceFieldSelector = InferOutput<typeof ResourceFieldSelector>;

export const KeyToPath = obj('core.v1.KeyToPath', {
  key: req(str(), 'Key to project.'),
  path: req(str(), 'Relative path of the file; no .. elements.'),
  mode: opt(fileMode(), 'File mode bits, 0 to 0777; the default mode of the volume if absent.'),
}, 'Puts one key at one path.');
export type KeyToPath = InferOutput<typeof KeyToPath>;
