import { readFile } from 'node:fs/promises';

/** Whether the kernel enforces AppArmor profiles. The engine runs on the same one. */
export async function appArmorEnabled(): Promise<boolean> {
  const text = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => '');
  return text.startsWith('Y');
}
