import { join, resolve } from 'node:path';
import { lstat } from 'node:fs/promises';
import { defaultDataDir, readOptions } from '../config.ts';
import { joinTokenPath } from '../join-token.ts';
import { installedSettings, paths, readRoot, requireOwnUnit, requireRoot, unitPath, wantsPath } from './install.ts';
import type { Step } from './steps.ts';
import { unitName } from './unit-file.ts';

export interface UninstallFacts {
  readonly root: string;
  readonly dataDir: string;
  readonly dockerHost: string | undefined;
  /** The unit runs the copy that `install` made. */
  readonly binary: boolean;
  readonly systemd: boolean;
  /** Containers and state go too. */
  readonly purge: boolean;
}

/** Takes away exactly what `install` made. Containers, identity and state are another matter: see purge.ts. */
export function planUninstall({ root, dataDir, binary, systemd }: UninstallFacts): Step[] {
  const at = (path: string): string => join(root || '/', path);
  return [
    ...(systemd ? [{ type: 'run', command: ['systemctl', 'stop', unitName], mayFail: true } as const] : []),
    { type: 'remove', path: at(wantsPath) },
    { type: 'remove', path: at(unitPath) },
    ...(systemd ? [{ type: 'run', command: ['systemctl', 'daemon-reload'], mayFail: true } as const, { type: 'run', command: ['systemctl', 'reset-failed', unitName], mayFail: true } as const] : []),
    { type: 'remove', path: at(paths.config) },
    { type: 'removeEmpty', path: at('/etc/wherry') },
    { type: 'remove', path: at(joinTokenPath(dataDir)) },
    { type: 'removeEmpty', path: at(dataDir) },
    // The second is what an upgrade left.
    ...(binary ? [paths.binary, `${paths.binary}.previous`].map((path) => ({ type: 'remove', path: at(path) } as const)) : []),
  ];
}

/** Looks at what is installed. @throws ConfigError with one line for the user */
export async function lookForUninstall(flags: Readonly<Record<string, unknown>>): Promise<UninstallFacts> {
  const root = readRoot(flags['root']);
  if (!root && !flags['dryRun']) requireRoot('uninstall');
  const unit = await requireOwnUnit(root);
  const given = readOptions(flags);
  // A config file that is broken must not keep anybody from getting rid of it.
  const settings = { ...await installedSettings(root).catch(() => ({})), ...given };
  return {
    root, purge: flags['purge'] === true, dataDir: resolve(settings.dataDir ?? defaultDataDir), dockerHost: settings.dockerHost,
    binary: unit?.includes(`\nExecStart=${paths.binary} `) ?? false,
    systemd: !root && await lstat('/run/systemd/system').then((found) => found.isDirectory(), () => false),
  };
}
