import type { Verb } from '../../shared/kind.ts';
import { isAlreadyExists, StatusError } from '../../shared/status.ts';
import { sendObject, type Call } from './call.ts';
import { checkStrict, readDocument } from './document.ts';
import { removeCollection, removeObject } from './delete.ts';
import { noSuchMethod } from './kinds.ts';
import { checkNotFuture, list } from './list.ts';
import { negotiate } from './negotiate.ts';
import { revision, writeOptions } from './options.ts';
import { patchObject } from './patch.ts';
import { answerSubresource, bindPod } from './subresource.ts';

const handlers: Record<Verb, (call: Call) => Promise<void> | void> = {
  get: getObject,
  list: ({ x, kind, request, options }) => list(x, options.registry, kind, request.namespace, options.clock.now),
  watch: ({ x, kind, request, options }) => options.watches.answer(x, kind, request.namespace, request.name),
  create: createObject,
  update: updateObject,
  patch: patchObject,
  delete: removeObject,
  deletecollection: removeCollection,
};

/** Answers a request for a resource: any verb, any kind. @throws StatusError */
export function answerResource(call: Call): Promise<void> | void {
  const { x, kind, request } = call;
  if (request.subresource) return answerSubresource(call);
  const { verb } = x.info;
  if (!isVerb(verb) || !kind.verbs.includes(verb)) throw noSuchMethod();
  // Objects are written in their namespace and at their own path.
  if (kind.namespaced && !request.namespace && verb !== 'list' && verb !== 'watch') throw noSuchMethod();
  if (onObject.has(verb) !== (request.name !== '') && verb !== 'watch') throw noSuchMethod();
  // A Binding is never stored: creating one assigns its pod.
  if (kind.prefix === 'core/bindings/') return bindPod(call, '');
  return handlers[verb](call);
}

const isVerb = (verb: string): verb is Verb => Object.hasOwn(handlers, verb);

/** Verbs whose URL ends in a name. */
const onObject: ReadonlySet<string> = new Set<Verb>(['get', 'update', 'patch', 'delete']);

function getObject(call: Call): void {
  const { x, kind, request, options: { registry } } = call;
  checkNotFuture(revision(x.query.get('resourceVersion')) ?? 0, registry.store.revision);
  sendObject(call, 200, registry.get(kind, request.namespace, request.name));
}

/** How often a generated name that is taken is replaced by another (apiserver's `RetryGenerateName`). */
const maxNames = 8;

async function createObject(call: Call): Promise<void> {
  const { x, kind, request, options: { registry } } = call;
  negotiate(x.header('accept'), true);
  const { body, document } = await readDocument(x, kind);
  const options = writeOptions(x, 'CreateOptions', '');
  checkStrict(kind, body, options.fieldValidation, x.warn);
  const { name, generateName } = (document['metadata'] ?? {}) as { name?: unknown; generateName?: unknown };
  for (let tries = 1; ; tries++) {
    try {
      return sendObject(call, 201, await registry.create(kind, request.namespace, document, options));
    } catch (error) {
      if (name || !generateName || !isAlreadyExists(error)) throw error;
      if (tries < maxNames) continue;
      throw new StatusError(409, 'AlreadyExists', `${(error as StatusError).message}, the server was not able to generate a unique name for the object`, (error as StatusError).details);
    }
  }
}

async function updateObject(call: Call): Promise<void> {
  const { x, kind, request, options: { registry } } = call;
  const { body, document } = await readDocument(x, kind);
  const options = writeOptions(x, 'UpdateOptions', '');
  checkStrict(kind, body, options.fieldValidation, x.warn);
  sendObject(call, 200, await registry.update(kind, request.namespace, request.name, document, options));
}
