import type { Duplex } from 'node:stream';
import { isObject } from '../registry/field-set.ts';
import { bind, type BindingTarget } from '../registry/binding.ts';
import { evict } from '../registry/eviction.ts';
import type { User } from '../registry/types.ts';
import { badRequest, fieldRequired, invalid } from '../../shared/status.ts';
import { sendSuccess } from './answer.ts';
import { checkStrict, readDocument } from './document.ts';
import { ephemeralContainers } from './ephemeral-containers.ts';
import type { Exchange } from './exchange.ts';
import { noSuchMethod, noSuchResource } from './kinds.ts';
import { patchObject } from './patch.ts';
import { writeOptions } from './options.ts';
import type { ResourceRequest } from './request.ts';
import { scale } from './scale.ts';
import { sendObject, type Call } from './call.ts';

/** Serves containers' logs; implemented by whoever can reach the nodes. */
export interface PodLogs {
  /** Answers `GET pods/NAME/log`; throws StatusError while nothing was answered. */
  answer(request: PodLogsRequest): Promise<void>;
}

export interface PodLogsRequest {
  readonly exchange: Exchange;
  readonly user: User;
  readonly namespace: string;
  readonly name: string;
}

/** A subresource that somebody else serves, such as `pods/exec` or `serviceaccounts/token`. */
export interface SubresourceHandler {
  readonly resource: string;
  readonly subresource: string;
  /** Answers the exchange, or throws StatusError. */
  answer(call: Call): Promise<void> | void;
  /** Takes over the connection of a request that asks for an upgrade; throws StatusError while nothing was answered. */
  upgrade?(upgrade: Upgrade): Promise<void> | void;
}

/** A request for a subresource that wants its connection for something else than HTTP. */
export interface Upgrade {
  readonly x: Exchange;
  readonly request: ResourceRequest;
  readonly socket: Duplex;
  /** What came after the request's head. */
  readonly head: Buffer;
}

export interface SubresourceOptions {
  readonly podLogs: PodLogs | undefined;
  readonly subresources: readonly SubresourceHandler[];
}

/** Answers a request for a subresource. @throws StatusError */
export function answerSubresource(call: Call): Promise<void> | void {
  const { kind, request: { resource, subresource, name }, options } = call;
  if (!name) throw noSuchResource();
  const special = options.subresources.find((handler) => handler.resource === resource && handler.subresource === subresource);
  if (special) return special.answer(call);
  if (subresource === 'status' && kind.status) return status(call);
  if (subresource === 'scale' && kind.scale) return scale(call);
  if (!kind.subresources?.some((known) => known.name === subresource)) throw noSuchResource();
  const serve = Object.hasOwn(specials, `${resource}/${subresource}`) ? specials[`${resource}/${subresource}`] : undefined;
  if (!serve) throw noSuchResource();
  return serve(call);
}

const specials: Readonly<Record<string, (call: Call) => Promise<void>>> = {
  'pods/ephemeralcontainers': ephemeralContainers,
  'pods/binding': (call) => bindPod(call, call.request.name),
  'pods/eviction': evictPod,
  'pods/log': podLog,
  'namespaces/finalize': finalize,
};

function status(call: Call): Promise<void> | void {
  const { x, kind, request, options: { registry } } = call;
  switch (x.info.verb) {
    case 'get': return sendObject(call, 200, registry.get(kind, request.namespace, request.name));
    case 'update': return updateStatus(call);
    case 'patch': return patchObject(call);
    default: throw noSuchMethod();
  }
}

async function updateStatus(call: Call): Promise<void> {
  const { x, kind, request, options: { registry } } = call;
  const { body, document } = await readDocument(x, kind);
  const options = writeOptions(x, 'UpdateOptions', 'status');
  checkStrict(kind, body, options.fieldValidation, x.warn);
  sendObject(call, 200, await registry.update(kind, request.namespace, request.name, document, options));
}

const bindingKind = { kind: 'Binding', apiVersion: 'v1' };

/** Answers a POST of a Binding, to `pods/NAME/binding` or to `bindings`. */
export async function bindPod(call: Call, pod: string): Promise<void> {
  const { x, request, options: { registry, clock } } = call;
  if (x.info.verb !== 'create') throw noSuchMethod();
  const { document } = await readDocument(x, bindingKind);
  const binding = bindingTarget(document);
  const name = pod || (binding.metadata as { name?: string } | undefined)?.name || '';
  if (!name) throw badRequest('name is required');
  const { dryRun = false } = writeOptions(x, 'CreateOptions', 'binding');
  await bind(registry, request.namespace, name, binding, { clock, dryRun });
  sendSuccess(x, 201);
}

function bindingTarget(document: Record<string, unknown>): BindingTarget {
  const { target, metadata } = document;
  if (metadata !== undefined && metadata !== null && !isObject(metadata)) throw badRequest('Binding in version "v1" cannot be handled as a Binding: json: cannot unmarshal value into Go struct field Binding.metadata of type v1.ObjectMeta');
  if (!isObject(target) || typeof target['name'] !== 'string' || target['name'] === '') {
    throw invalid({ group: '', plural: 'bindings', kind: 'Binding' }, '', [fieldRequired('target.name')]);
  }
  return document as unknown as BindingTarget;
}

const evictionKind = { kind: 'Eviction', apiVersion: 'policy/v1', aliases: ['policy/v1beta1'] };

async function evictPod({ x, request, options: { registry } }: Call): Promise<void> {
  if (x.info.verb !== 'create') throw noSuchMethod();
  const { document } = await readDocument(x, evictionKind);
  await evict(registry, request.namespace, request.name, document, writeOptions(x, 'CreateOptions', 'eviction'));
  sendSuccess(x, 201);
}

async function podLog({ x, request: { namespace, name }, kind, options: { registry, podLogs } }: Call): Promise<void> {
  if (x.info.verb !== 'get') throw noSuchMethod();
  registry.get(kind, namespace, name);
  if (!podLogs) throw noSuchResource();
  await podLogs.answer({ exchange: x, user: x.user, namespace, name });
}

async function finalize(call: Call): Promise<void> {
  const { x, kind, request: { namespace, name }, options: { registry } } = call;
  if (x.info.verb !== 'update') throw noSuchMethod();
  const { document } = await readDocument(x, kind);
  const { subresource: _, ...options } = writeOptions(x, 'UpdateOptions', '');
  sendObject(call, 200, await registry.finalize(kind, namespace, name, document, options));
}
