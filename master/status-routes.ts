import { badRequest } from '../shared/status.ts';
import { sendJson } from './api/answer.ts';
import type { Exchange } from './api/exchange.ts';
import type { Route, UpgradeRoute } from './api/server.ts';
import type { StatusStream } from './status/stream.ts';

export const statusPath = '/wherry/v1/status';

/** `GET /wherry/v1/status`: the fleet, once. Administrators only, as the authorizer has it. */
export function statusRoute(stream: Pick<StatusStream, 'get'>): Route {
  return { method: 'GET', path: statusPath, handle: async (x: Exchange) => sendJson(x, 200, await stream.get()) };
}

/** A WebSocket to `/wherry/v1/status?watch`: the fleet, and then what changes. Administrators only. */
export function statusUpgrade(stream: Pick<StatusStream, 'upgrade'>): UpgradeRoute {
  return {
    path: statusPath, allows: ({ groups }) => groups.includes('system:masters'),
    handle: (req, socket, head) => {
      // A WebSocket is for watching; without the parameter somebody means something else.
      if (!new URL(req.url ?? '/', 'https://master').searchParams.has('watch')) throw badRequest('a WebSocket to this path needs ?watch');
      stream.upgrade(req, socket, head);
    },
  };
}
