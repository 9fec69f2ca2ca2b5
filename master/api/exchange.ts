import type { IncomingMessage, ServerResponse } from 'node:http';
import type { User } from '../registry/types.ts';
import { splitTarget, type Query } from './query.ts';
import { describeRequest, type RequestInfo } from './request.ts';

/** Who a request is from before anybody has looked: replaced by authenticate.ts, first in the chain. */
export const anonymous: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };

/** One HTTP request on its way through the chain, with what the steps found out about it. */
export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly query: Query;
  /** Set by the chain's first step. */
  info: RequestInfo;
  user: User = anonymous;
  /** Texts for `Warning` headers. */
  readonly warnings: string[] = [];

  constructor(req: IncomingMessage, res: ServerResponse) {
    this.req = req;
    this.res = res;
    const { path, query } = splitTarget(req.url ?? '/');
    this.query = query;
    this.info = { verb: (req.method ?? 'GET').toLowerCase(), path, resource: undefined };
  }

  get method(): string {
    return this.req.method ?? 'GET';
  }

  get path(): string {
    return this.info.path;
  }

  /** Fills in {@link info}. @throws StatusError 400 */
  describe(): void {
    this.info = describeRequest(this.method, this.path, this.query);
  }

  readonly warn = (text: string): void => { if (this.warnings.length < 64) this.warnings.push(text); };

  header(name: string): string {
    const value = this.req.headers[name];
    return typeof value === 'string' ? value : value?.join(', ') ?? '';
  }
}
