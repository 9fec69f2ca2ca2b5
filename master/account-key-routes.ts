import * as v from 'valibot';
import { badRequest } from '../shared/status.ts';
import type { Rotation } from './account-key.ts';
import { sendJson } from './api/answer.ts';
import { readBody } from './api/body.ts';
import type { Route } from './api/server.ts';

/** Path of `wherry account-key rotate`'s request to a running master. */
export const accountKeyPath = '/wherry/v1/account-key';

const maxKeepMs = 100 * 366 * 86_400_000;
const Body = v.object({ keepMs: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(maxKeepMs)) });

/** `POST /wherry/v1/account-key {keepMs}`: service accounts' tokens are signed with a new key. Administrators only, as the authorizer has it. */
export const accountKeyRoute = (rotate: (keepMs: number) => Promise<Rotation>): Route => ({
  method: 'POST', path: accountKeyPath,
  async handle(x) {
    const wanted = v.safeParse(Body, parseJson(await readBody(x.req)));
    if (!wanted.success) throw badRequest(`keepMs: ${wanted.issues[0].message}`);
    sendJson(x, 201, await rotate(wanted.output.keepMs));
  },
});

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw badRequest(`json parse error: ${(error as Error).message}`);
  }
}
