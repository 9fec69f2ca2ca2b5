import type { Clock } from '../../shared/clock.ts';
import type { Kind } from '../../shared/kind.ts';
import type { Registry } from '../registry/registry.ts';
import type { Stored } from '../registry/types.ts';
import { sendBytes } from './answer.ts';
import { refusal, type Authorizer } from './authorize.ts';
import { encoderOf } from './encode.ts';
import type { Exchange } from './exchange.ts';
import { negotiate } from './negotiate.ts';
import type { ResourceRequest } from './request.ts';
import type { SubresourceOptions } from './subresource.ts';
import { includeObject } from './table.ts';
import type { Watches } from './watch.ts';

export interface ResourceOptions extends SubresourceOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly watches: Watches;
  /** Asked again where a request turns out to want more than its verb says. */
  readonly authorizer: Authorizer;
}

/** A resource request with its kind, on its way to be answered. */
export interface Call {
  readonly x: Exchange;
  readonly kind: Kind;
  readonly request: ResourceRequest;
  readonly options: ResourceOptions;
}

/** Answers with an object in the form that the client takes. */
export function sendObject({ x, kind, options }: Call, code: number, stored: Stored): void {
  const representation = negotiate(x.header('accept'), true);
  if (representation.as === 'object') return sendBytes(x, code, stored.bytes);
  const encoder = encoderOf({ kind, representation, includeObject: includeObject(x.query), now: options.clock.now });
  sendBytes(x, code, encoder.one(stored));
}

/** Checks that a request's user may do to its object what another verb stands for. @throws StatusError 403 */
export async function confirmVerb({ x, request, options }: Call, verb: string): Promise<void> {
  const access = { user: x.user, verb, path: x.path, resource: request };
  const { allowed, reason } = await options.authorizer.authorize(access);
  if (!allowed) throw refusal(access, reason);
}
