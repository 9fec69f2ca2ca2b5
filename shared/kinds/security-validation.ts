import { posix } from 'node:path';
import { fieldDuplicate, fieldInvalid, fieldRequired, type FieldError } from '../status.ts';
import { inclusiveRange } from '../names.ts';
import type { ContainerSecurityContext, PodSecurityContext } from './security-context.ts';

/** Rules for user and group IDs. */
export function idErrors(id: number | undefined, path: string): FieldError[] {
  return id === undefined || (id >= 0 && id <= 2 ** 31 - 1) ? [] : [fieldInvalid(path, id, inclusiveRange(0, 2 ** 31 - 1))];
}

interface Profile { readonly type: string; readonly localhostProfile?: string }

const onlyLocalhost = (path: string, profile: Profile, word: string): FieldError[] =>
  (profile.localhostProfile === undefined ? [] : [fieldInvalid(`${path}.localhostProfile`, profile.localhostProfile, `can only be set when ${word} type is Localhost`)]);

function seccompErrors(profile: Profile | undefined, path: string): FieldError[] {
  if (!profile) return [];
  if (profile.type !== 'Localhost') return onlyLocalhost(path, profile, 'seccomp');
  const { localhostProfile: file } = profile;
  if (!file) return [fieldRequired(`${path}.localhostProfile`, 'must be set when seccomp type is Localhost ')];
  if (posix.isAbsolute(file)) return [fieldInvalid(`${path}.localhostProfile`, file, 'must be a relative path')];
  return file.split('/').includes('..') ? [fieldInvalid(`${path}.localhostProfile`, file, 'must not contain \'..\'')] : [];
}

function appArmorErrors(profile: Profile | undefined, path: string): FieldError[] {
  if (!profile) return [];
  if (profile.type !== 'Localhost') return onlyLocalhost(path, profile, 'AppArmor');
  const { localhostProfile: name } = profile;
  if (!name?.trim()) return [fieldRequired(`${path}.localhostProfile`, 'must be set when AppArmor type is Localhost')];
  return name.trim() === name ? [] : [fieldInvalid(`${path}.localhostProfile`, name, 'must not be padded with whitespace')];
}

// Kubernetes' SysctlContainSlashFmt.
const segment = '[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?';
const sysctlForm = `(${segment.replaceAll('?:', '')}[\\./])*${segment.replaceAll('?:', '')}`;
const sysctlName = new RegExp(`^(?:${segment}[./])*${segment}$`);

function sysctlErrors(sysctls: NonNullable<PodSecurityContext['sysctls']>, path: string): FieldError[] {
  const names = new Set<string>();
  return sysctls.flatMap(({ name }, index) => {
    const at = `${path}[${index}].name`;
    const errors: FieldError[] = [];
    if (name === '') errors.push(fieldRequired(at));
    else if (name.length > 253 || !sysctlName.test(name)) errors.push(fieldInvalid(at, name, `must have at most 253 characters and match regex ^${sysctlForm}$`));
    else if (names.has(name)) errors.push(fieldDuplicate(at, name));
    names.add(name);
    return errors;
  });
}

/** Rules for the security context of a pod. */
export function podSecurityErrors(context: PodSecurityContext, path: string): FieldError[] {
  return [
    ...idErrors(context.runAsUser, `${path}.runAsUser`), ...idErrors(context.runAsGroup, `${path}.runAsGroup`), ...idErrors(context.fsGroup, `${path}.fsGroup`),
    ...(context.supplementalGroups ?? []).flatMap((group, index) => idErrors(group, `${path}.supplementalGroups[${index}]`)),
    ...sysctlErrors(context.sysctls ?? [], `${path}.sysctls`),
    ...seccompErrors(context.seccompProfile, `${path}.seccompProfile`),
    ...appArmorErrors(context.appArmorProfile, `${path}.appArmorProfile`),
  ];
}

/** Rules for the security context of a container. */
export function containerSecurityErrors(context: ContainerSecurityContext | undefined, path: string): FieldError[] {
  if (!context) return [];
  const errors = [...idErrors(context.runAsUser, `${path}.runAsUser`), ...idErrors(context.runAsGroup, `${path}.runAsGroup`)];
  errors.push(...seccompErrors(context.seccompProfile, `${path}.seccompProfile`));
  if (context.allowPrivilegeEscalation === false) {
    if (context.privileged) errors.push(fieldInvalid(path, context, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true'));
    if (context.capabilities?.add?.includes('CAP_SYS_ADMIN')) errors.push(fieldInvalid(path, context, 'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN'));
  }
  return [...errors, ...appArmorErrors(context.appArmorProfile, `${path}.appArmorProfile`)];
}
