import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createAuthority, issue } from '../../master/certificates.ts';
import { matches, readIdentity, writeIdentity, type Identity } from '../../agent/identity.ts';
import { temporaryDirectories } from '../fakes/tls-agent.ts';

const test = suite('identity');
const { directory, cleanUp } = temporaryDirectories('identity-');
const program = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? 'identity-child.ts' : 'identity-child.js', import.meta.url));

async function makeIdentity(): Promise<Identity> {
  const authority = await createAuthority('ca', 1);
  const pair = await issue(authority, { subject: { name: 'system:node:n1', groups: ['system:nodes'] }, use: 'client', days: 1 });
  return { nodeName: 'n1', server: 'https://m:6443', ca: authority.certificate, key: pair.key, certificate: pair.certificate };
}

test('kill -9 while it is being replaced leaves one that is whole, and its own key\'s', async () => {
  const path = await directory();
  const both = [await makeIdentity(), await makeIdentity()] as const;
  await writeIdentity(path, both[0]);
  for (let kill = 0; kill < 12; kill++) {
    const child = spawn(process.execPath, [...process.execArgv, program, path, JSON.stringify(both[0]), JSON.stringify(both[1])], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    await new Promise((resolve) => { setTimeout(resolve, Math.random() * 30); });
    child.kill('SIGKILL');
    await once(child, 'exit');
    const found = (await readIdentity(path))!;
    assert.ok(matches(found));
    assert.ok(found.key === both[0].key || found.key === both[1].key);
    for (const name of ['identity.json', 'identity.backup.json']) assert.is((await stat(join(path, name))).mode & 0o777, 0o600);
  }
});

test.after(cleanUp);
test.run();
