import { chmod, copyFile, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import * as v from 'valibot';
import { makeDirectory } from '../shared/directory.ts';
import { plainReason } from '../shared/plain-reason.ts';
import { writeDurably } from './pki.ts';
import { openLmdbStore } from './store/lmdb.ts';
import type { Store } from './store/store.ts';

/**
 * A backup is a directory that looks like the master's data directory, and says in backup.json what it is:
 *
 * ```
 * backup.json   format, program version, time, epoch and revision of the copied store
 * store/        data.mdb, one committed state of the running store
 * pki/          the authority's key: whoever has a backup can make certificates
 * tokens.csv    static bearer tokens (join tokens are in the store)
 * ```
 */
const Manifest = v.object({ format: v.literal(1), version: v.string(), time: v.string(), epoch: v.string(), revision: v.number() });
export type Manifest = v.InferOutput<typeof Manifest>;

/** A backup or a restore cannot be done as asked; the message is one line for the user. */
export class BackupError extends Error {
  readonly code = 'EBACKUP';
}

const manifestName = 'backup.json';

export interface BackupOptions {
  readonly dataDir: string;
  /** Open, and perhaps in use. */
  readonly store: Store;
  /** Of the program. */
  readonly version: string;
  readonly nowMs: number;
}

/**
 * Writes a backup to a directory that does not exist or is empty. What has that name afterwards is whole and on disk.
 * Key material that changes meanwhile (once in months) is copied as it was before or after, file by file.
 * @throws BackupError; nothing is left behind then
 */
export async function backupMaster({ dataDir, store, version, nowMs }: BackupOptions, target: string): Promise<Manifest> {
  await refuseIfNotEmpty(target);
  return completing(target, async (partial) => {
    await store.backup(join(partial, 'store'));
    await copyBeside(dataDir, partial);
    // The store goes on while it is copied: what the copy holds, the copy says.
    const manifest: Manifest = { format: 1, version, time: new Date(nowMs).toISOString(), ...await inspect(join(partial, 'store'), store.epoch) };
    await writeDurably(join(partial, manifestName), `${JSON.stringify(manifest, undefined, 2)}\n`, 0o600);
    return manifest;
  });
}

/**
 * Makes a data directory, which must not exist or be empty, from a backup. Its store has an epoch of its own, so that
 * agents, which may hold later revisions than the backup does, take a complete snapshot.
 * @throws BackupError; nothing is left behind then
 */
export async function restoreMaster(source: string, dataDir: string): Promise<Manifest> {
  const manifest = await readManifest(source);
  await refuseIfNotEmpty(dataDir);
  return completing(dataDir, async (partial) => {
    await mkdir(join(partial, 'store'), { mode: 0o700 });
    await copyFile(join(source, 'store', 'data.mdb'), join(partial, 'store', 'data.mdb'));
    await copyBeside(source, partial);
    await inspect(join(partial, 'store'), manifest.epoch);
    return manifest;
  });
}

/** Opens a copy of the store of an epoch, which shows that it is whole and gives it an epoch of its own. */
async function inspect(directory: string, original: string): Promise<{ readonly epoch: string; readonly revision: number }> {
  for (let tries = 0; tries < 3; tries++) {
    const store = await openLmdbStore({ directory });
    const { epoch, revision } = store;
    await store.close();
    await rm(join(directory, 'lock.mdb'), { force: true });
    if (epoch !== original) return { epoch, revision };
    // The store knows a copy by its file's inode, and on another disk it happened to get the same: take another file.
    await copyFile(join(directory, 'data.mdb'), join(directory, 'data.mdb.copy'));
    await rename(join(directory, 'data.mdb.copy'), join(directory, 'data.mdb'));
  }
  throw new Error('the copy of the store keeps the identity of the original');
}

async function copyBeside(from: string, to: string): Promise<void> {
  await mkdir(join(to, 'pki'), { mode: 0o700 });
  const keys = (await readdir(join(from, 'pki'))).filter((name) => /\.(key|crt)$|^sa-previous\.json$/.test(name));
  for (const path of [...keys.map((name) => join('pki', name)), 'tokens.csv']) {
    await copyFile(join(from, path), join(to, path));
    await chmod(join(to, path), (await stat(join(from, path))).mode & 0o777);
  }
}

async function readManifest(source: string): Promise<Manifest> {
  let text: string;
  try {
    text = await readFile(join(source, manifestName), 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? `there is no ${join(source, manifestName)}` : code === 'ENOTDIR' ? 'it is a file, not a directory' : plainReason(error);
    throw new BackupError(`${source} is no backup of a master: ${why}`);
  }
  try {
    return v.parse(Manifest, JSON.parse(text));
  } catch (error) {
    throw new BackupError(`${join(source, manifestName)} is not of a backup that this version reads: ${(error as Error).message}`);
  }
}

async function refuseIfNotEmpty(directory: string): Promise<void> {
  const files = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new BackupError(`cannot use ${directory}: ${plainReason(error)}`);
  });
  if (files.length > 0) throw new BackupError(`${directory} is not empty, and nothing is overwritten: name another directory, or move it away`);
}

/** Fills a directory beside its target and renames it once all is on disk. */
async function completing<T>(target: string, fill: (partial: string) => Promise<T>): Promise<T> {
  const partial = `${resolve(target)}.partial`;
  try {
    await rm(partial, { recursive: true, force: true });
    await makeDirectory(dirname(partial), 0o755);
    await mkdir(partial, { mode: 0o700 });
    const result = await fill(partial);
    await syncTree(partial);
    await rename(partial, resolve(target));
    await sync(dirname(partial));
    return result;
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if (error instanceof BackupError) throw error;
    const { path } = error as NodeJS.ErrnoException;
    throw new BackupError(`cannot make ${target}: ${path === undefined || path.startsWith(partial) ? '' : `${path}: `}${plainReason(error)}`, { cause: error });
  }
}

async function syncTree(path: string): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true });
  for (const entry of entries) await (entry.isDirectory() ? syncTree(join(path, entry.name)) : sync(join(path, entry.name)));
  await sync(path);
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
