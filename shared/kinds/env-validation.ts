import { configMapKeyErrors, dnsSubdomainErrors, envVarNameErrors, qualifiedNameErrors } from '../names.ts';
import { fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import type { EnvFromSource, EnvVar, EnvVarSource } from './container.ts';
import type { ObjectFieldSelector, ResourceFieldSelector } from './references.ts';

const envPaths = [
  'metadata.name', 'metadata.namespace', 'metadata.uid', 'spec.nodeName', 'spec.serviceAccountName',
  'status.hostIP', 'status.hostIPs', 'status.podIP', 'status.podIPs',
];
const resourceNames = ['limits.cpu', 'limits.ephemeral-storage', 'limits.memory', 'requests.cpu', 'requests.ephemeral-storage', 'requests.memory'];

const subscript = /^(metadata\.(?:labels|annotations))\['([^']*)'\]$/;

/** Rules for a `fieldRef`; one label or annotation may be named beside `paths`. */
export function downwardFieldErrors({ fieldPath }: ObjectFieldSelector, path: string, paths: readonly string[]): FieldError[] {
  const field = `${path}.fieldPath`;
  if (fieldPath === '') return [];
  const [, , key] = subscript.exec(fieldPath) ?? [];
  if (key !== undefined) return qualifiedNameErrors(key).map((problem) => fieldInvalid(field, fieldPath, problem));
  return paths.includes(fieldPath) ? [] : [fieldNotSupported(field, fieldPath, paths)];
}

/** Rules for a `resourceFieldRef`; volumes must name the container. */
export function resourceFieldErrors({ resource, containerName }: ResourceFieldSelector, path: string, inVolume: boolean): FieldError[] {
  if (inVolume && !containerName) return [fieldRequired(`${path}.containerName`)];
  const known = resourceNames.includes(resource) || /^(?:limits|requests)\.hugepages-/.test(resource);
  return known || resource === '' ? [] : [fieldNotSupported(`${path}.resource`, resource, resourceNames)];
}

function keyErrors(reference: { name: string; key: string } | undefined, path: string): FieldError[] {
  if (!reference) return [];
  const errors: FieldError[] = [];
  if (!reference.name) errors.push(fieldRequired(`${path}.name`));
  if (reference.key) errors.push(...configMapKeyErrors(reference.key).map((problem) => fieldInvalid(`${path}.key`, reference.key, problem)));
  return errors;
}

function sourceErrors(source: EnvVarSource, value: string, path: string): FieldError[] {
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = source;
  const errors: FieldError[] = [];
  const given = [fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef].filter(Boolean).length;
  if (fieldRef) errors.push(...downwardFieldErrors(fieldRef, `${path}.fieldRef`, envPaths));
  if (resourceFieldRef) errors.push(...resourceFieldErrors(resourceFieldRef, `${path}.resourceFieldRef`, false));
  errors.push(...keyErrors(configMapKeyRef, `${path}.configMapKeyRef`), ...keyErrors(secretKeyRef, `${path}.secretKeyRef`));
  if (given === 0) errors.push(fieldInvalid(path, '', 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`'));
  else if (value !== '') errors.push(fieldInvalid(path, '', 'may not be specified when `value` is not empty'));
  else if (given > 1) errors.push(fieldInvalid(path, '', 'may not have more than one field specified at a time'));
  return errors;
}

/** Rules for `env`; `path` of the list. A name may occur twice: the last one counts. */
export function validateEnv(env: readonly EnvVar[], path: string): FieldError[] {
  return env.flatMap((variable, index) => {
    const at = `${path}[${index}]`;
    const errors = variable.name ? envVarNameErrors(variable.name).map((problem) => fieldInvalid(`${at}.name`, variable.name, problem)) : [];
    return variable.valueFrom ? [...errors, ...sourceErrors(variable.valueFrom, variable.value ?? '', `${at}.valueFrom`)] : errors;
  });
}

function objectNameErrors(name: string, path: string): FieldError[] {
  if (!name) return [fieldRequired(path)];
  return dnsSubdomainErrors(name).map((problem) => fieldInvalid(path, name, problem));
}

/** Rules for `envFrom`; `path` of the list. */
export function validateEnvFrom(sources: readonly EnvFromSource[], path: string): FieldError[] {
  return sources.flatMap(({ prefix, configMapRef, secretRef }, index) => {
    const at = `${path}[${index}]`;
    const errors = prefix ? envVarNameErrors(prefix).map((problem) => fieldInvalid(`${at}.prefix`, prefix, problem)) : [];
    if (configMapRef) errors.push(...objectNameErrors(configMapRef.name, `${at}.configMapRef.name`));
    if (secretRef) errors.push(...objectNameErrors(secretRef.name, `${at}.secretRef.name`));
    if (configMapRef && secretRef) errors.push(fieldInvalid(at, '', 'may not have more than one field specified at a time'));
    if (!configMapRef && !secretRef) errors.push(fieldInvalid(at, '', 'must specify one of: `configMapRef` or `secretRef`'));
    return errors;
  });
}
