import type { KubeObject } from '../../shared/meta.ts';
import { applyPatch } from '../registry/patch.ts';
import { mediaType } from './body.ts';
import { sendObject, type Call } from './call.ts';
import { checkStrict, readDocument } from './document.ts';
import { noSuchMethod } from './kinds.ts';
import { writeOptions } from './options.ts';
import { applyObject, noSense, readPatch } from './patch.ts';

/**
 * Answers `pods/NAME/ephemeralcontainers`, which is how containers come into a pod that runs: `kubectl debug` patches
 * the pod here. Of what is sent, the list of ephemeral containers counts, and the resourceVersion.
 * @throws StatusError
 */
export async function ephemeralContainers(call: Call): Promise<void> {
  const { x, kind, request: { namespace, name }, options: { registry } } = call;
  switch (x.info.verb) {
    case 'get': return sendObject(call, 200, registry.get(kind, namespace, name));
    case 'update': {
      const { body, document } = await readDocument(x, kind);
      const options = writeOptions(x, 'UpdateOptions', 'ephemeralcontainers');
      checkStrict(kind, body, options.fieldValidation, x.warn);
      return sendObject(call, 200, await registry.modify(kind, namespace, name, (current) => withEphemeral(current, document), options));
    }
    case 'patch': return patch(call);
    default: throw noSuchMethod();
  }
}

async function patch(call: Call): Promise<void> {
  const { x, kind, request: { namespace, name }, options: { registry } } = call;
  const media = mediaType(x.req);
  if (media === 'application/apply-patch+yaml') return applyObject(call, ephemeralOnly);
  const given = await readPatch(call, media);
  let patched: unknown;
  const change = (current: KubeObject): unknown => withEphemeral(current, (patched = applyPatch(kind, current, given)));
  const unreadable = (why: string): Error => noSense(given, patched, why);
  sendObject(call, 200, await registry.modify(kind, namespace, name, change, { ...writeOptions(x, 'PatchOptions', 'ephemeralcontainers'), unreadable }));
}

interface Written { readonly metadata?: { readonly name?: string; readonly uid?: string; readonly resourceVersion?: string }; readonly spec?: { readonly ephemeralContainers?: unknown } }

/** Of an apply configuration, what names the pod and its ephemeral containers: only these are applied, and owned. */
function ephemeralOnly(config: Record<string, unknown>): Record<string, unknown> {
  const { apiVersion, kind, metadata, spec } = config as Written & { readonly apiVersion?: unknown; readonly kind?: unknown };
  const named = Object.fromEntries(Object.entries(metadata ?? {}).filter(([key]) => ['name', 'namespace', 'uid', 'resourceVersion', 'managedFields'].includes(key)));
  return { apiVersion, kind, metadata: named, spec: spec?.ephemeralContainers ? { ephemeralContainers: spec.ephemeralContainers } : {} };
}

/** The pod as it is, with the ephemeral containers, name, uid and resourceVersion of what was sent. */
function withEphemeral(current: KubeObject, sent: unknown): unknown {
  const { metadata = {}, spec } = sent as Written;
  const { spec: own, ...rest } = current as KubeObject & { spec: Record<string, unknown> };
  const { ephemeralContainers: _, ...kept } = own;
  const asked = Object.fromEntries((['name', 'uid', 'resourceVersion'] as const).filter((key) => metadata[key]).map((key) => [key, metadata[key]]));
  const given = spec?.ephemeralContainers;
  return { ...rest, metadata: { ...current.metadata, ...asked }, spec: { ...kept, ...(given ? { ephemeralContainers: given } : {}) } };
}
