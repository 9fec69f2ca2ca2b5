import { readdir, readFile } from 'node:fs/promises';

/**
 * Ends the processes of a container that its engine has lost sight of, as one does that dies between starting a task and
 * noting it. They are known by the container's id in the name of their control group. Returns how many there were.
 */
export async function endStrays(id: string, proc = '/proc'): Promise<number> {
  if (!/^[0-9a-f]{64}$/.test(id)) return 0;
  const pids = (await readdir(proc)).filter((name) => /^\d+$/.test(name));
  let ended = 0;
  for (const pid of pids) {
    const groups = await readFile(`${proc}/${pid}/cgroup`, 'utf8').catch(() => '');
    if (!groups.split(/[/\n:]/).some((part) => part === id || part === `docker-${id}.scope`)) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
      ended++;
    } catch {
      // It is gone, or not ours to end.
    }
  }
  return ended;
}
