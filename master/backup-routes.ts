import { isAbsolute } from 'node:path';
import * as v from 'valibot';
import { badRequest, StatusError } from '../shared/status.ts';
import { sendJson } from './api/answer.ts';
import { readBody } from './api/body.ts';
import type { Route } from './api/server.ts';
import { BackupError, type Manifest } from './backup.ts';

/** Path of `wherry backup`'s request to a running master. */
export const backupPath = '/wherry/v1/backup';

const Body = v.object({ directory: v.pipe(v.string(), v.check(isAbsolute, 'must be an absolute path on the master\'s host')) });

/** `POST /wherry/v1/backup {directory}`: writes a backup on the master's own host. Administrators only, as the authorizer has it. */
export const backupRoute = (backup: (directory: string) => Promise<Manifest>): Route => ({
  method: 'POST', path: backupPath,
  async handle(x) {
    const wanted = v.safeParse(Body, parseJson(await readBody(x.req)));
    if (!wanted.success) throw badRequest(`directory: ${wanted.issues[0].message}`);
    try {
      sendJson(x, 201, await backup(wanted.output.directory));
    } catch (error) {
      if (error instanceof BackupError) throw new StatusError(422, 'Invalid', error.message);
      throw error;
    }
  },
});

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw badRequest(`json parse error: ${(error as Error).message}`);
  }
}
