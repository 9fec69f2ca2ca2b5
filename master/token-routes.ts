import * as v from 'valibot';
import type { Clock } from '../shared/clock.ts';
import { badRequest } from '../shared/status.ts';
import { toTime } from '../shared/time.ts';
import { sendJson, sendSuccess } from './api/answer.ts';
import { readBody } from './api/body.ts';
import type { Route } from './api/server.ts';
import { createJoinToken, deleteJoinToken, listJoinTokens, type JoinToken } from './registry/token.ts';
import type { Registry } from './registry/registry.ts';

export interface TokenRoutesOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  /** SHA-256 of the authority's SPKI, base64url: what lets an agent know its master at first contact. */
  readonly authorityHash: string;
}

const CreateToken = v.object({ ttlMs: v.pipe(v.number(), v.integer(), v.minValue(0)), description: v.pipe(v.string(), v.maxLength(1024)) });

/** What an agent is given: `wherry1.ID.SECRET.HASH`. */
export const tokenText = (token: JoinToken, authorityHash: string): string => `wherry1.${token.id}.${token.secret}.${authorityHash}`;

/** `/wherry/v1/tokens`: what `wherry token` speaks to. Administrators only, as the authorizer has it. */
export function tokenRoutes({ registry, clock, authorityHash }: TokenRoutesOptions): Route[] {
  const path = '/wherry/v1/tokens';
  return [
    { method: 'GET', path, handle: (x) => sendJson(x, 200, { tokens: listJoinTokens(registry).map(withoutSecret) }) },
    {
      method: 'POST', path,
      async handle(x) {
        const wanted = v.safeParse(CreateToken, parseJson(await readBody(x.req)));
        if (!wanted.success) throw badRequest(`${v.getDotPath(wanted.issues[0]) ?? 'body'}: ${wanted.issues[0].message}`);
        const token = await createJoinToken(registry, clock, wanted.output);
        sendJson(x, 201, { ...withoutSecret(token), token: tokenText(token, authorityHash) });
      },
    },
    {
      method: 'DELETE', path,
      async handle(x) {
        await deleteJoinToken(registry, x.query.get('id') ?? '');
        sendSuccess(x, 200);
      },
    },
  ];
}

const withoutSecret = ({ id, description, expiresMs }: JoinToken): Record<string, string> =>
  ({ id, description, ...(expiresMs === undefined ? {} : { expires: toTime(expiresMs) }) });

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw badRequest(`json parse error: ${(error as Error).message}`);
  }
}
