import { resolve } from 'node:path';
import { guestbook } from './guestbook.ts';
import { run } from './lab.ts';

/** The same with the packaged agent: a single binary, on hosts that know nothing of Node. */
guestbook({
  name: 'gbbin',
  agent: async () => {
    const printed = await run('npm', ['run', '-s', 'package', '--', 'own'], { timeoutMs: 10 * 60_000 });
    const name = /wherry-agent-linux-\w+/.exec(printed)?.[0];
    if (!name) throw new Error(`npm run package names no binary: ${printed}`);
    return resolve('dist/package', name);
  },
});
