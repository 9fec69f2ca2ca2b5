import { chmod, chown, lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { Volume } from '../../shared/kinds/volume.ts';
import type { VolumeSources } from './index.ts';
import { tokenFileOwner, type TokenOf } from './token-file.ts';

/** One file of a volume; `mode` in permission bits, `owner` a uid where it is not the agent's. */
export interface VolumeFile { readonly data: Buffer; readonly mode: number; readonly owner?: number }

export const isFileVolume = (volume: Volume): boolean =>
  Boolean(volume.configMap ?? volume.secret ?? volume.projected ?? volume.downwardAPI);

interface Keys { readonly items?: readonly { readonly key: string; readonly path: string; readonly mode?: number }[]; readonly optional?: boolean }
interface DownwardItem {
  readonly path: string;
  readonly mode?: number;
  readonly fieldRef?: { readonly fieldPath: string };
  readonly resourceFieldRef?: { readonly containerName?: string; readonly resource: string; readonly divisor?: string };
}

/**
 * The files of a configMap, secret, downwardAPI or projected volume, by relative path.
 * @throws Error with the kubelet's words when an object or key is missing that is not optional
 */
export function filesOf(pod: Pod, volume: Volume, sources: VolumeSources, tokenOf?: TokenOf): Map<string, VolumeFile> {
  const files = new Map<string, VolumeFile>();
  const mode = (volume.configMap ?? volume.secret ?? volume.downwardAPI ?? volume.projected)?.defaultMode ?? 0o644;
  const add = new Adder(pod, sources, files, mode);
  if (volume.configMap) add.configMap(volume.configMap);
  if (volume.secret) add.secret(volume.secret.secretName ?? '', volume.secret);
  if (volume.downwardAPI) add.downward(volume.downwardAPI.items ?? []);
  for (const source of volume.projected?.sources ?? []) {
    if (source.configMap) add.configMap(source.configMap);
    if (source.secret) add.secret(source.secret.name ?? '', source.secret);
    if (source.downwardAPI) add.downward(source.downwardAPI.items ?? []);
    if (source.serviceAccountToken) add.token(source.serviceAccountToken.path, tokenOf?.(source.serviceAccountToken));
  }
  return files;
}

class Adder {
  readonly #pod: Pod;
  readonly #sources: VolumeSources;
  readonly #files: Map<string, VolumeFile>;
  readonly #mode: number;

  constructor(pod: Pod, sources: VolumeSources, files: Map<string, VolumeFile>, mode: number) {
    this.#pod = pod;
    this.#sources = sources;
    this.#files = files;
    this.#mode = mode;
  }

  configMap(source: Keys & { readonly name?: string }): void {
    const name = source.name ?? '';
    const found = this.#sources.configMap(this.#namespace, name);
    if (!found && !source.optional) throw new Error(`configmap "${name}" not found`);
    const data = new Map<string, Buffer>();
    for (const [key, text] of Object.entries(found?.data ?? {})) data.set(key, Buffer.from(text));
    for (const [key, base64] of Object.entries(found?.binaryData ?? {})) data.set(key, Buffer.from(base64, 'base64'));
    this.#keys(data, source, 'config');
  }

  secret(name: string, source: Keys): void {
    const found = this.#sources.secret(this.#namespace, name);
    if (!found && !source.optional) throw new Error(`secret "${name}" not found`);
    this.#keys(new Map(Object.entries(found?.data ?? {}).map(([key, base64]) => [key, Buffer.from(base64, 'base64')])), source, 'secret');
  }

  downward(items: readonly DownwardItem[]): void {
    for (const item of items) {
      const text = item.fieldRef ? this.#sources.field(this.#pod, item.fieldRef.fieldPath)
        : item.resourceFieldRef ? this.#sources.resource(this.#pod, item.resourceFieldRef) : '';
      this.#add(item.path, Buffer.from(text), item.mode);
    }
  }

  /** Without a token there is no file: whoever needs it must not take an empty one for it. */
  token(path: string, text: string | undefined): void {
    if (text === undefined) return;
    const { mode, owner } = tokenFileOwner(this.#pod, this.#mode);
    this.#add(path, Buffer.from(text), mode, owner);
  }

  get #namespace(): string {
    return this.#pod.metadata.namespace ?? '';
  }

  #keys(data: ReadonlyMap<string, Buffer>, { items, optional }: Keys, type: 'config' | 'secret'): void {
    if (!items) {
      for (const [key, bytes] of data) this.#add(key, bytes, undefined);
      return;
    }
    for (const { key, path, mode } of items) {
      const bytes = data.get(key);
      if (bytes) this.#add(path, bytes, mode);
      else if (!optional) throw new Error(`references non-existent ${type} key: ${key}`);
    }
  }

  #add(path: string, data: Buffer, mode: number | undefined, owner?: number): void {
    const clean = normalize(path);
    if (clean.startsWith('/') || clean === '.' || clean.split('/')[0]?.startsWith('..')) throw new Error(`invalid path: ${path}`);
    this.#files.set(clean, { data, mode: mode ?? this.#mode, ...(owner === undefined ? {} : { owner }) });
  }
}

/**
 * Makes a directory hold exactly these files, changing all of them at one instant: a new timestamped directory, and one
 * rename of the link that leads to it, as the kubelet's AtomicWriter does. Nothing is written when nothing changed.
 *
 * ```
 * key        → ..data/key
 * ..data     → ..2026_01_02_03_04_05.000000001
 * ```
 */
export async function writeFiles(folder: string, files: ReadonlyMap<string, VolumeFile>, group: number | undefined): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const old = await readlink(join(folder, '..data')).catch(() => undefined);
  if (old !== undefined && await same(join(folder, old), files)) return;
  const name = `..${new Date().toISOString().replace(/[-:]/g, '_').replace('T', '_').replace('Z', '')}${process.hrtime.bigint() % 1_000_000n}`;
  for (const [path, file] of files) await writeOne(join(folder, name, path), file, group);
  if (files.size === 0) await mkdir(join(folder, name), { recursive: true });
  await symlink(name, join(folder, '..data_tmp')).catch(async () => {
    await rm(join(folder, '..data_tmp'), { force: true });
    await symlink(name, join(folder, '..data_tmp'));
  });
  await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  await link(folder, new Set([...files.keys()].map((path) => path.split('/')[0]!)));
  await removeOthers(folder, name);
}

async function writeOne(path: string, file: VolumeFile, group: number | undefined): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  await writeFile(path, file.data, { mode: 0o600 });
  // chmod, because the mode of a created file is subject to the umask.
  await chmod(path, group === undefined ? file.mode : file.mode | 0o440);
  if (group !== undefined || file.owner !== undefined) await chown(path, file.owner ?? -1, group ?? -1);
}

async function same(folder: string, files: ReadonlyMap<string, VolumeFile>): Promise<boolean> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => undefined);
  if (!found || found.filter((entry) => entry.isFile()).length !== files.size) return false;
  for (const [path, file] of files) {
    const data = await readFile(join(folder, path)).catch(() => undefined);
    if (!data?.equals(file.data)) return false;
  }
  return true;
}

/** The names that users see: a link per first path segment, through `..data`. */
async function link(folder: string, names: ReadonlySet<string>): Promise<void> {
  for (const name of names) {
    const there = await lstat(join(folder, name)).catch(() => undefined);
    if (!there) await symlink(join('..data', name), join(folder, name));
  }
  for (const name of await readdir(folder)) {
    if (!name.startsWith('..') && !names.has(name)) await rm(join(folder, name), { recursive: true, force: true });
  }
}

async function removeOthers(folder: string, keep: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith('..') && name !== '..data' && name !== keep) await rm(join(folder, name), { recursive: true, force: true });
  }
}
