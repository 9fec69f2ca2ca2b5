import { randomUUID } from 'node:crypto';
import { equal } from '../../shared/equal.ts';
import type { Kind } from '../../shared/kind.ts';
import { nameOf, type KubeObject, type ObjectMeta } from '../../shared/meta.ts';
import { dnsSubdomainErrors, generatedName, qualifiedNameErrors, validateAnnotations, validateLabels } from '../../shared/names.ts';
import { badRequest, conflict, fieldForbidden, fieldInvalid, fieldRequired, type FieldError } from '../../shared/status.ts';
import { toTime } from '../../shared/time.ts';
import type { Preconditions } from './types.ts';


/** Checks and completes the metadata of an object about to be created. Mutates it. */
export function prepareMetadataForCreate(kind: Kind, object: KubeObject, namespace: string, nowMs: number, random: () => number): void {
  const { metadata } = object;
  if (metadata.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  placeInNamespace(kind, metadata, namespace);
  if (!metadata.name && metadata.generateName) metadata.name = generatedName(metadata.generateName, random);
  metadata.uid = randomUUID();
  metadata.creationTimestamp = toTime(nowMs);
  if (kind.generation) metadata.generation = 1;
  else delete metadata.generation;
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  delete metadata.selfLink;
}

/** Makes the object's namespace the request's. @throws StatusError 400 when they disagree */
export function placeInNamespace(kind: Kind, metadata: ObjectMeta, namespace: string): void {
  if (!kind.namespaced) {
    if (metadata.namespace) delete metadata.namespace;
    return;
  }
  if (metadata.namespace && metadata.namespace !== namespace) throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  metadata.namespace = namespace;
}

/** Carries over what a writer may not change, and counts a new generation when the desired state changed. Mutates `object`. */
export function prepareMetadataForUpdate(object: KubeObject, old: KubeObject): void {
  const next = object.metadata;
  const was = old.metadata;
  carry(next, was, 'uid');
  carry(next, was, 'creationTimestamp');
  carry(next, was, 'deletionTimestamp');
  carry(next, was, 'deletionGracePeriodSeconds');
  carry(next, was, 'generateName');
  carry(next, was, 'generation');
  delete next.selfLink;
}

function carry<K extends keyof ObjectMeta>(next: ObjectMeta, was: ObjectMeta, key: K): void {
  if (was[key] === undefined) delete next[key];
  else next[key] = was[key];
}

/** True when anything but metadata and status differs: what `metadata.generation` counts. */
export function desiredStateChanged(object: KubeObject, old: KubeObject): boolean {
  return !equal({ ...object, metadata: undefined, status: undefined }, { ...old, metadata: undefined, status: undefined });
}

/** @throws StatusError 409 when the object is not the one, or not the version, that the client meant */
export function checkPreconditions(kind: Kind, stored: KubeObject, preconditions: Preconditions | undefined): void {
  const { metadata } = stored;
  if (preconditions?.uid && preconditions.uid !== metadata.uid) {
    throw conflict(kind, nameOf(stored), `Precondition failed: UID in precondition: ${preconditions.uid}, UID in object meta: ${metadata.uid}`);
  }
  if (preconditions?.resourceVersion && preconditions.resourceVersion !== metadata.resourceVersion) {
    throw conflict(kind, nameOf(stored), `Precondition failed: ResourceVersion in precondition: ${preconditions.resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion}`);
  }
}

/** Rules that every kind's metadata obeys, as k8s.io/apimachinery `ValidateObjectMeta` has them. */
export function validateMetadata(kind: Kind, metadata: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  const nameRule = kind.validateName ?? dnsSubdomainErrors;
  if (metadata.generateName) {
    for (const why of nameRule(metadata.generateName, true)) errors.push(fieldInvalid('metadata.generateName', metadata.generateName, why));
  }
  if (!metadata.name) errors.push(fieldRequired('metadata.name', 'name or generateName is required'));
  else for (const why of nameRule(metadata.name, false)) errors.push(fieldInvalid('metadata.name', metadata.name, why));
  errors.push(...validateLabels(metadata.labels, 'metadata.labels'), ...validateAnnotations(metadata.annotations, 'metadata.annotations'));
  errors.push(...validateOwners(metadata), ...validateFinalizers(metadata));
  return errors;
}

function validateOwners(metadata: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  let controller: string | undefined;
  metadata.ownerReferences?.forEach((owner, index) => {
    const at = `metadata.ownerReferences[${index}]`;
    if (!owner.apiVersion) errors.push(fieldInvalid(`${at}.apiVersion`, owner.apiVersion, 'version must not be empty'));
    if (!owner.kind) errors.push(fieldInvalid(`${at}.kind`, owner.kind, 'must not be empty'));
    if (!owner.name) errors.push(fieldInvalid(`${at}.name`, owner.name, 'must not be empty'));
    if (!owner.uid) errors.push(fieldInvalid(`${at}.uid`, owner.uid, 'must not be empty'));
    if (!owner.controller) return;
    if (controller) {
      errors.push(fieldInvalid('metadata.ownerReferences', metadata.ownerReferences, `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${owner.name}`));
    }
    controller = owner.name;
  });
  return errors;
}

/** Those without a domain that Kubernetes knows. */
const standardFinalizers: ReadonlySet<string> = new Set(['kubernetes', 'orphan', 'foregroundDeletion']);

function validateFinalizers(metadata: ObjectMeta): FieldError[] {
  return (metadata.finalizers ?? []).flatMap((finalizer, index) => {
    const at = `metadata.finalizers[${index}]`;
    const errors = qualifiedNameErrors(finalizer).map((why) => fieldInvalid(at, finalizer, why));
    if (!finalizer.includes('/') && !standardFinalizers.has(finalizer)) errors.push(fieldInvalid(at, finalizer, 'name is neither a standard finalizer name nor is it fully qualified'));
    return errors;
  });
}

/** Rules about changes of metadata. */
export function validateMetadataUpdate(metadata: ObjectMeta, old: ObjectMeta): FieldError[] {
  const errors: FieldError[] = [];
  if (metadata.name !== old.name) errors.push(fieldInvalid('metadata.name', metadata.name, 'field is immutable'));
  if (metadata.namespace !== old.namespace) errors.push(fieldInvalid('metadata.namespace', metadata.namespace, 'field is immutable'));
  const added = old.deletionTimestamp ? (metadata.finalizers ?? []).filter((finalizer) => !old.finalizers?.includes(finalizer)) : [];
  if (added.length > 0) {
    errors.push(fieldForbidden('metadata.finalizers', `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`));
  }
  return errors;
}
