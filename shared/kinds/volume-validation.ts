import { posix } from 'node:path';
import { dnsLabelErrors } from '../names.ts';
import { parseQuantity } from '../quantity.ts';
import { fieldDuplicate, fieldForbidden, fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import { claimSpecErrors } from './claim-spec.ts';
import { downwardFieldErrors, resourceFieldErrors } from './env-validation.ts';
import type { KeyToPath } from './references.ts';
import { volumeSources, type DownwardAPIVolumeFile, type ProjectedVolumeSource, type Volume, type VolumeProjection } from './volume.ts';

const hostPathTypes = ['', 'BlockDevice', 'CharDevice', 'Directory', 'DirectoryOrCreate', 'File', 'FileOrCreate', 'Socket'];

const hasBackstep = (path: string): boolean => path.split('/').includes('..');

/** A path below the volume's root that leaves names with two dots to the atomic writer. */
function localPathErrors(path: string, field: string): FieldError[] {
  const errors: FieldError[] = [];
  if (posix.isAbsolute(path)) errors.push(fieldInvalid(field, path, 'must be a relative path'));
  if (hasBackstep(path)) errors.push(fieldInvalid(field, path, "must not contain '..'"));
  if (path.startsWith('..') && !path.startsWith('../')) errors.push(fieldInvalid(field, path, "must not start with '..'"));
  return errors;
}

const itemErrors = (items: readonly KeyToPath[] | undefined, path: string): FieldError[] =>
  (items ?? []).flatMap((item, index) => localPathErrors(item.path, `${path}.items[${index}].path`));

const downwardPaths = ['metadata.annotations', 'metadata.labels', 'metadata.name', 'metadata.namespace', 'metadata.uid'];

const fileErrors = (files: readonly DownwardAPIVolumeFile[] | undefined, path: string): FieldError[] =>
  (files ?? []).flatMap((file, index) => downwardFileErrors(file, `${path}.items[${index}]`));

function downwardFileErrors(file: DownwardAPIVolumeFile, path: string): FieldError[] {
  const errors = localPathErrors(file.path, `${path}.path`);
  const { fieldRef, resourceFieldRef } = file;
  if (fieldRef && resourceFieldRef) errors.push(fieldInvalid(path, 'resource', 'fieldRef and resourceFieldRef can not be specified simultaneously'));
  else if (fieldRef) errors.push(...downwardFieldErrors(fieldRef, `${path}.fieldRef`, downwardPaths));
  else if (resourceFieldRef) errors.push(...resourceFieldErrors(resourceFieldRef, `${path}.resourceFieldRef`, true));
  else errors.push(fieldRequired(path, 'one of fieldRef and resourceFieldRef is required'));
  return errors;
}

const projections = ['secret', 'configMap', 'downwardAPI', 'serviceAccountToken', 'clusterTrustBundle'] as const;

function projectionErrors(projection: VolumeProjection, path: string): FieldError[] {
  const given = projections.filter((source) => projection[source] !== undefined);
  if (given.length === 0) return [fieldRequired(path, 'must specify a volume type')];
  if (given.length > 1) return [fieldForbidden(`${path}.${given[1]}`, 'may not specify more than 1 volume type')];
  const { secret, configMap, downwardAPI, serviceAccountToken } = projection;
  const errors: FieldError[] = [];
  if (secret) errors.push(...requiredName(secret.name, `${path}.secret.name`), ...itemErrors(secret.items, `${path}.secret`));
  if (configMap) errors.push(...requiredName(configMap.name, `${path}.configMap.name`), ...itemErrors(configMap.items, `${path}.configMap`));
  if (downwardAPI) errors.push(...fileErrors(downwardAPI.items, `${path}.downwardAPI`));
  if (serviceAccountToken) errors.push(...tokenErrors(serviceAccountToken, `${path}.serviceAccountToken`));
  return errors;
}

const requiredName = (name: string | undefined, path: string): FieldError[] => (name ? [] : [fieldRequired(path)]);

function tokenErrors(token: NonNullable<VolumeProjection['serviceAccountToken']>, path: string): FieldError[] {
  const errors = localPathErrors(token.path, `${path}.path`);
  const seconds = token.expirationSeconds;
  if (seconds < 600) errors.push(fieldInvalid(`${path}.expirationSeconds`, seconds, 'may not specify a duration less than 10 minutes'));
  if (seconds > 2 ** 32) errors.push(fieldInvalid(`${path}.expirationSeconds`, seconds, 'may not specify a duration larger than 2^32 seconds'));
  return errors;
}

/** Two sources may not write the same file. */
function conflictErrors({ sources = [] }: ProjectedVolumeSource, path: string): FieldError[] {
  const seen = new Set<string>();
  return sources.flatMap((source) => {
    const { secret, configMap, downwardAPI, serviceAccountToken } = source;
    const paths = [...secret?.items ?? [], ...configMap?.items ?? [], ...downwardAPI?.items ?? []].map((item) => item.path);
    if (serviceAccountToken) paths.push(serviceAccountToken.path);
    return paths.flatMap((file) => {
      if (seen.has(file)) return [fieldInvalid(path, file, 'conflicting duplicate paths')];
      seen.add(file);
      return [];
    });
  });
}

function hostPathErrors(source: NonNullable<Volume['hostPath']>, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (hasBackstep(source.path)) errors.push(fieldInvalid(`${path}.path`, source.path, "must not contain '..'"));
  if (!hostPathTypes.includes(source.type)) errors.push(fieldNotSupported(`${path}.type`, source.type, hostPathTypes));
  return errors;
}

function sourceErrors(volume: Volume, path: string): FieldError[] {
  const { emptyDir, hostPath, nfs, configMap, secret, projected, downwardAPI, persistentVolumeClaim, ephemeral } = volume;
  const errors: FieldError[] = [];
  if (emptyDir?.sizeLimit && parseQuantity(emptyDir.sizeLimit) < 0) errors.push(fieldForbidden(`${path}.emptyDir.sizeLimit`, 'SizeLimit field must be a valid resource quantity'));
  if (hostPath) errors.push(...hostPathErrors(hostPath, `${path}.hostPath`));
  if (nfs && nfs.path && !posix.isAbsolute(nfs.path)) errors.push(fieldInvalid(`${path}.nfs.path`, nfs.path, 'must be an absolute path'));
  if (configMap) errors.push(...requiredName(configMap.name, `${path}.configMap.name`), ...itemErrors(configMap.items, `${path}.configMap`));
  if (secret) errors.push(...requiredName(secret.secretName, `${path}.secret.secretName`), ...itemErrors(secret.items, `${path}.secret`));
  if (downwardAPI) errors.push(...fileErrors(downwardAPI.items, `${path}.downwardAPI`));
  if (persistentVolumeClaim) errors.push(...requiredName(persistentVolumeClaim.claimName, `${path}.persistentVolumeClaim.claimName`));
  if (ephemeral?.volumeClaimTemplate) errors.push(...claimSpecErrors(ephemeral.volumeClaimTemplate.spec, `${path}.ephemeral.volumeClaimTemplate.spec`));
  else if (ephemeral) errors.push(fieldRequired(`${path}.ephemeral.volumeClaimTemplate`));
  if (projected) {
    errors.push(...(projected.sources ?? []).flatMap((source, index) => projectionErrors(source, `${path}.projected.sources[${index}]`)));
    errors.push(...conflictErrors(projected, `${path}.projected`));
  }
  return errors;
}

function volumeErrors(volume: Volume, path: string, seen: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  const given = volumeSources.filter((source) => volume[source] !== undefined);
  if (given.length === 0) errors.push(fieldRequired(path, 'must specify a volume type'));
  for (const extra of given.slice(1)) errors.push(fieldForbidden(`${path}.${extra}`, 'may not specify more than 1 volume type'));
  errors.push(...sourceErrors(volume, path));
  if (volume.name === '') return errors;
  errors.push(...dnsLabelErrors(volume.name).map((problem) => fieldInvalid(`${path}.name`, volume.name, problem)));
  if (seen.has(volume.name)) errors.push(fieldDuplicate(`${path}.name`, volume.name));
  seen.add(volume.name);
  return errors;
}

/** Rules for `spec.volumes`; `path` of the list. */
export function validateVolumes(volumes: readonly Volume[], path: string): FieldError[] {
  const seen = new Set<string>();
  return volumes.flatMap((volume, index) => volumeErrors(volume, `${path}[${index}]`, seen));
}
