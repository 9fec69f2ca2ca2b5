import { isIP } from 'node:net';
import { dnsLabelErrors, dnsSubdomainErrors, inclusiveRange, qualifiedNameErrors, validateAnnotations, validateLabels } from '../names.ts';
import { fieldDuplicate, fieldForbidden, fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from '../status.ts';
import { validateAffinity, validateSpread, validateTolerations } from './affinity-validation.ts';
import { validateContainers } from './container-validation.ts';
import type { PodSpec, PodTemplateSpec } from './pod-spec.ts';
import type { PodParts } from './pod-status.ts';
import { podSecurityErrors } from './security-validation.ts';
import { validateVolumes } from './volume-validation.ts';

const maxInt32 = 2 ** 31 - 1;

function nameErrors(name: string | undefined, path: string, rule: (name: string) => string[]): FieldError[] {
  return name ? rule(name).map((problem) => fieldInvalid(path, name, problem)) : [];
}

function hostAliasErrors(spec: PodSpec, path: string): FieldError[] {
  return (spec.hostAliases ?? []).flatMap(({ ip, hostnames }, index) => [
    ...(isIP(ip) ? [] : [fieldInvalid(`${path}[${index}].ip`, ip, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')]),
    ...(hostnames ?? []).flatMap((name) => nameErrors(name, `${path}[${index}].hostnames`, dnsSubdomainErrors)),
  ]);
}

function dnsErrors({ dnsPolicy, dnsConfig }: PodSpec, path: string): FieldError[] {
  const servers = dnsConfig?.nameservers ?? [];
  if (dnsPolicy === 'None' && !dnsConfig) return [fieldRequired(path, 'must provide `dnsConfig` when `dnsPolicy` is None')];
  if (dnsPolicy === 'None' && servers.length === 0) return [fieldRequired(`${path}.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None')];
  if (servers.length > 3) return [fieldInvalid(`${path}.nameservers`, servers, 'must not have more than 3 nameservers')];
  return [...servers.flatMap((server, index) => (isIP(server) ? [] : [fieldInvalid(`${path}.nameservers[${index}]`, server, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')])), ...searchErrors(dnsConfig, path)];
}

function searchErrors({ searches = [], options = [] }: NonNullable<PodSpec['dnsConfig']> = {}, path: string): FieldError[] {
  return [
    ...(searches.length > 32 ? [fieldInvalid(`${path}.searches`, searches, 'must not have more than 32 search paths')] : []),
    ...(searches.join(' ').length > 2048 ? [fieldInvalid(`${path}.searches`, searches, 'must not have more than 2048 characters (including spaces) in the search list')] : []),
    ...searches.flatMap((search, index) => nameErrors(search.replace(/(.)\.$/, '$1'), `${path}.searches[${index}]`, dnsSubdomainErrors)),
    ...options.flatMap(({ name }, index) => (name ? [] : [fieldRequired(`${path}.options[${index}]`, 'must not be empty')])),
  ];
}

function gateErrors({ readinessGates = [], schedulingGates = [] }: PodSpec, path: string): FieldError[] {
  const seen = new Set<string>();
  return [
    ...readinessGates.flatMap(({ conditionType }, index) => nameErrors(conditionType, `${path}.readinessGates[${index}].conditionType`, qualifiedNameErrors)),
    ...schedulingGates.flatMap(({ name }, index) => {
      const errors = nameErrors(name, `${path}.schedulingGates[${index}]`, qualifiedNameErrors);
      if (seen.has(name)) errors.push(fieldDuplicate(`${path}.schedulingGates[${index}]`, name));
      seen.add(name);
      return errors;
    }),
  ];
}

/** A pod that says that it is for Linux (or Windows) may not ask for what only the other has. */
function osErrors(spec: PodSpec, path: string): FieldError[] {
  if (!spec.os) return [];
  const { name } = spec.os;
  if (!name) return [fieldRequired(`${path}.os.name`)];
  if (name !== 'linux' && name !== 'windows') return [fieldNotSupported(`${path}.os.name`, name, ['linux', 'windows'])];
  if (name === 'windows') return [];
  const unwanted = 'windows options cannot be set for a linux pod';
  const within = (list: readonly { readonly securityContext?: { readonly windowsOptions?: unknown } }[] | undefined, at: string): FieldError[] =>
    (list ?? []).flatMap(({ securityContext }, index) => (securityContext?.windowsOptions ? [fieldForbidden(`${path}.${at}[${index}].securityContext.windowsOptions`, unwanted)] : []));
  return [
    ...(spec.securityContext.windowsOptions ? [fieldForbidden(`${path}.securityContext.windowsOptions`, unwanted)] : []),
    ...within(spec.containers, 'containers'), ...within(spec.initContainers, 'initContainers'), ...within(spec.ephemeralContainers, 'ephemeralContainers'),
  ];
}

/** Rules for a pod's spec, in pods and templates; `path` of the spec. */
export function validatePodSpec(spec: PodSpec, path: string): FieldError[] {
  const deadline = spec.activeDeadlineSeconds;
  return [
    ...validateVolumes(spec.volumes ?? [], `${path}.volumes`),
    ...validateContainers(spec, path),
    ...validateLabels(spec.nodeSelector, `${path}.nodeSelector`),
    ...podSecurityErrors(spec.securityContext, `${path}.securityContext`),
    ...(spec.shareProcessNamespace && spec.hostPID ? [fieldInvalid(`${path}.securityContext.shareProcessNamespace`, true, 'ShareProcessNamespace and HostPID cannot both be enabled')] : []),
    ...osErrors(spec, path),
    ...validateAffinity(spec.affinity, `${path}.affinity`),
    ...dnsErrors(spec, `${path}.dnsConfig`),
    ...gateErrors(spec, path),
    ...validateSpread(spec.topologySpreadConstraints ?? [], `${path}.topologySpreadConstraints`),
    ...nameErrors(spec.serviceAccountName, `${path}.serviceAccountName`, dnsSubdomainErrors),
    ...nameErrors(spec.nodeName, `${path}.nodeName`, dnsSubdomainErrors),
    ...(deadline !== undefined && (deadline < 1 || deadline > maxInt32) ? [fieldInvalid(`${path}.activeDeadlineSeconds`, deadline, inclusiveRange(1, maxInt32))] : []),
    ...nameErrors(spec.hostname, `${path}.hostname`, dnsLabelErrors),
    ...nameErrors(spec.subdomain, `${path}.subdomain`, dnsLabelErrors),
    ...validateTolerations(spec.tolerations ?? [], `${path}.tolerations`),
    ...hostAliasErrors(spec, `${path}.hostAliases`),
    ...nameErrors(spec.priorityClassName, `${path}.priorityClassName`, dnsSubdomainErrors),
    ...nameErrors(spec.runtimeClassName, `${path}.runtimeClassName`, dnsSubdomainErrors),
  ];
}

/** Rules for a pod template; `path` of the template, such as `spec.template`. */
export function validatePodTemplate({ metadata, spec }: PodTemplateSpec, path: string): FieldError[] {
  const errors = [
    ...validateLabels(metadata?.labels, `${path}.labels`),
    ...validateAnnotations(metadata?.annotations, `${path}.annotations`),
    ...validatePodSpec(spec, `${path}.spec`),
  ];
  if (spec.ephemeralContainers?.length) errors.push(fieldForbidden(`${path}.spec.ephemeralContainers`, 'ephemeral containers not allowed in pod template'));
  return errors;
}

/** Rules for a pod. */
export function validatePod({ spec }: PodParts): FieldError[] {
  const errors = validatePodSpec(spec, 'spec');
  if (spec.schedulingGates?.length && spec.nodeName) errors.push(fieldForbidden('spec.nodeName', 'cannot be set until all schedulingGates have been cleared'));
  return errors;
}
