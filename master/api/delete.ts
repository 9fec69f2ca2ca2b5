import type { Kind } from '../../shared/kind.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { isNotFound } from '../../shared/status.ts';
import { parseDocument } from '../registry/cache.ts';
import type { Deletion } from '../registry/types.ts';
import { sendJson } from './answer.ts';
import { BodyStream } from './body-stream.ts';
import { mediaType, parseBody, readBody } from './body.ts';
import { encoderOf } from './encode.ts';
import { negotiate } from './negotiate.ts';
import { deleteOptions, listOptions, type DeleteRequest } from './options.ts';
import { sendObject, type Call } from './call.ts';
import { selectionOf } from './select.ts';

/** Kinds whose deletion answers with the object (`ReturnDeletedObject` in Kubernetes' registry); the others with a Status. */
const answersWithObject: ReadonlySet<string> = new Set([
  'core/pods/', 'core/services/', 'core/serviceaccounts/', 'core/persistentvolumes/', 'core/persistentvolumeclaims/',
  'core/podtemplates/', 'core/resourcequotas/', 'storage.k8s.io/storageclasses/', 'storage.k8s.io/csidrivers/',
  'storage.k8s.io/csinodes/', 'storage.k8s.io/volumeattachments/', 'storage.k8s.io/csistoragecapacities/',
]);

/** Answers DELETE of one object. @throws StatusError */
export async function removeObject(call: Call): Promise<void> {
  const { kind, request, options: { registry } } = call;
  const options = await readOptions(call);
  sendDeletion(call, await registry.delete(kind, request.namespace, request.name, options), options);
}

/** 202 only where Kubernetes says it: a cascading deletion asked for in the old way, and not done yet. */
export function sendDeletion(call: Call, { removed, stored }: Deletion<KubeObject>, { answersAccepted }: DeleteRequest): void {
  const { kind, x } = call;
  if (!removed || answersWithObject.has(kind.prefix)) return sendObject(call, !removed && answersAccepted ? 202 : 200, stored);
  const { name, uid } = stored.object.metadata;
  const details = { name, ...(kind.group ? { group: kind.group } : {}), kind: kind.plural, uid };
  sendJson(x, 200, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details });
}

async function readOptions({ x }: Call): Promise<DeleteRequest> {
  const bytes = await readBody(x.req);
  return deleteOptions(x, bytes.length > 0 ? parseBody(mediaType(x.req), bytes, 'DeleteOptions').value : undefined);
}

/** Deletions under way at once for one request (apiserver's `DeleteCollectionWorkers` by default is 1). */
const workers = 16;

/** Answers DELETE of a collection with the list of what was there. @throws StatusError */
export async function removeCollection(call: Call): Promise<void> {
  const { x, kind, request, options: { registry, clock } } = call;
  const asked = listOptions(x.query, false);
  const selection = selectionOf(kind, request.namespace, '', asked);
  const options = await readOptions(call);
  const revision = registry.store.revision;
  const found = selected(call, selection.matches, asked.limit);
  await deleteAll(call, found, options);
  const encoder = encoderOf({ kind, representation: negotiate(x.header('accept'), false), includeObject: 'Metadata', now: clock.now });
  const stream = new BodyStream(x, 200, encoder.listType);
  stream.push(encoder.open({ resourceVersion: String(revision) }));
  for (const [index, item] of found.entries()) {
    if (stream.due) await stream.pause();
    if (index > 0) stream.push(encoder.separator);
    stream.push(encoder.item(item));
  }
  stream.push(encoder.close);
  stream.end();
}

interface Found { readonly bytes: Uint8Array; readonly object: KubeObject }

function selected({ kind, request, options: { registry } }: Call, matches: (object: KubeObject) => boolean, limit: number): Found[] {
  const found: Found[] = [];
  for (const { bytes } of registry.store.range(prefixOf(kind, request.namespace))) {
    const object = parseDocument<KubeObject>(bytes);
    if (matches(object)) found.push({ bytes, object });
    if (limit > 0 && found.length >= limit) break;
  }
  return found;
}

const prefixOf = (kind: Kind, namespace: string): string => (namespace ? `${kind.prefix}${namespace}/` : kind.prefix);

async function deleteAll({ kind, options: { registry } }: Call, found: readonly Found[], options: DeleteRequest): Promise<void> {
  const queue = found.values();
  const worker = async (): Promise<void> => {
    for (const { object: { metadata } } of queue) {
      try {
        await registry.delete(kind, metadata.namespace ?? '', metadata.name ?? '', options);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
}
