import { isDeepStrictEqual } from 'node:util';
import { fieldForbidden, fieldInvalid, type FieldError } from '../status.ts';
import type { Toleration } from './affinity.ts';
import type { PodSpec } from './pod-spec.ts';
import type { PodParts } from './pod-status.ts';

const updatable = [
  '`spec.containers[*].image`', '`spec.initContainers[*].image`', '`spec.activeDeadlineSeconds`',
  '`spec.tolerations` (only additions to existing tolerations)',
  '`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)',
].join(',');

function deadlineErrors(next: number | undefined, old: number | undefined): FieldError[] {
  const path = 'spec.activeDeadlineSeconds';
  if (old === undefined || next === old) return [];
  if (next === undefined) return [fieldInvalid(path, null, 'must not update from a positive integer to nil value')];
  return next > old ? [fieldInvalid(path, next, 'must be less than or equal to previous value')] : [];
}

const sameToleration = (a: Toleration, b: Toleration): boolean => isDeepStrictEqual({ ...a, tolerationSeconds: 0 }, { ...b, tolerationSeconds: 0 });

function tolerationErrors(next: readonly Toleration[], old: readonly Toleration[]): FieldError[] {
  const kept = old.every((toleration) => next.some((other) => sameToleration(toleration, other)));
  return kept ? [] : [fieldForbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds')];
}

function gateErrors(next: PodSpec, old: PodSpec): FieldError[] {
  const known = new Set((old.schedulingGates ?? []).map((gate) => gate.name));
  return (next.schedulingGates ?? []).flatMap((gate, index) => (known.has(gate.name) ? []
    : [fieldForbidden(`spec.schedulingGates[${index}].name`, `only deletion is allowed, but found new scheduling gate '${gate.name}'`)]));
}

/** The new spec with every field that may change put back: equal to the old one if nothing else changed. */
function withoutUpdatable(next: PodSpec, old: PodSpec): PodSpec {
  const restored: PodSpec = { ...next };
  restored.containers = next.containers.map((container, index) => restoreImage(container, old.containers[index]));
  if (next.initContainers) restored.initContainers = next.initContainers.map((container, index) => restoreImage(container, old.initContainers?.[index]));
  for (const field of ['activeDeadlineSeconds', 'tolerations', 'schedulingGates'] as const) restore(restored, old, field);
  if (old.terminationGracePeriodSeconds < 0 && next.terminationGracePeriodSeconds === 1) restored.terminationGracePeriodSeconds = old.terminationGracePeriodSeconds;
  // A pod that waits at a gate may still be steered to nodes.
  if (old.schedulingGates?.length) for (const field of ['nodeSelector', 'affinity'] as const) restore(restored, old, field);
  return restored;
}

function restoreImage<C extends { image?: string }>(container: C, old: C | undefined): C {
  return old?.image === undefined ? container : { ...container, image: old.image };
}

function restore<K extends keyof PodSpec>(spec: PodSpec, old: PodSpec, field: K): void {
  if (old[field] === undefined) delete (spec as Partial<PodSpec>)[field];
  else spec[field] = old[field];
}

/** Ephemeral containers come, and stay as they are for as long as the pod. */
function ephemeralErrors({ ephemeralContainers: next = [] }: PodSpec, { ephemeralContainers: old = [] }: PodSpec): FieldError[] {
  const path = 'spec.ephemeralContainers';
  return old.flatMap((container) => {
    const kept = next.find(({ name }) => name === container.name);
    if (!kept) return [fieldForbidden(path, `existing ephemeral containers ${JSON.stringify(container.name)} may not be removed\n`)];
    return isDeepStrictEqual(kept, container) ? [] : [fieldForbidden(path, `existing ephemeral containers ${JSON.stringify(container.name)} may not be changed\n`)];
  });
}

/** Most of a pod is fixed once it exists: the rules of ValidatePodUpdate. */
export function validatePodUpdate({ spec: next }: PodParts, { spec: old }: PodParts, subresource?: string): FieldError[] {
  if (subresource === 'ephemeralcontainers') return ephemeralErrors(next, old);
  if (next.containers.length !== old.containers.length) return [fieldForbidden('spec.containers', 'pod updates may not add or remove containers')];
  if ((next.initContainers?.length ?? 0) !== (old.initContainers?.length ?? 0)) return [fieldForbidden('spec.initContainers', 'pod updates may not add or remove containers')];
  const errors = [
    ...deadlineErrors(next.activeDeadlineSeconds, old.activeDeadlineSeconds),
    ...gateErrors(next, old),
    ...tolerationErrors(next.tolerations ?? [], old.tolerations ?? []),
  ];
  if (!isDeepStrictEqual(withoutUpdatable(next, old), old)) errors.push(fieldForbidden('spec', `pod updates may not change fields other than ${updatable}`));
  return errors;
}
