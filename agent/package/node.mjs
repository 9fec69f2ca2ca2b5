import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Node's binaries as npm carries them: by version and architecture (as Node names it), the SHA-256 of `bin/node`.
 * Another one is a line here; fetching one that is not known says what its sum is.
 */
const known = {
  '20.20.2-x64': '6295488653f0d93b0a157841746fef7e72cc4328cfb60c4bbe0ca2668a836ffd',
  '20.20.2-arm64': '05a69ccdcb795f2a8b86c145e71a6a37cce84fccef5aaf25a8fe38bc9423e732',
  '22.23.3-x64': 'fde6a4bf8d0562f7751d1a2d6cb9b417c4cfe107bbcb0aa3e9a24e125e348f48',
};

/** SHA-256 that a Node binary must have; undefined for one that is not known. */
export const sumOf = (version, arch) => known[`${version}-${arch}`];

/**
 * A Node binary from npm, fetched once into `cache`.
 * @param {string} version @param {string} arch @param {string} cache
 * @returns {string} its path
 * @throws Error when it is not the one that is known
 */
export function fetchNode(version, arch, cache) {
  const name = `node-linux-${arch}`;
  const folder = join(cache, `${name}-${version}`);
  const path = join(folder, 'node_modules', name, 'bin', 'node');
  if (existsSync(join(folder, 'checked'))) return path;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  // --force: for another machine than this one.
  execFileSync('npm', ['install', '--prefix', folder, '--force', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error', `${name}@${version}`], { stdio: ['ignore', 'ignore', 'inherit'] });
  const sum = createHash('sha256').update(readFileSync(path)).digest('hex');
  if (sum !== sumOf(version, arch)) throw new Error(`${name}@${version}: bin/node has SHA-256 ${sum}, not ${sumOf(version, arch)}`);
  writeFileSync(join(folder, 'checked'), sum);
  return path;
}

/** Folder of node_api.h, in the package that a binary of {@link fetchNode} is in. */
export const headersOf = (path) => join(dirname(path), '..', 'include', 'node');

/**
 * Puts a base binary, without its symbols, where pkg looks for what it would download: `HOME/.pkg-cache/sea`. Symbols
 * must go before the program is injected, as stripping damages it afterwards.
 * @param {{ version: string, arch: string, home: string, cache: string }} options
 * @returns {string} the base's path
 */
export function layBase({ version, arch, home, cache }) {
  const folder = join(home, '.pkg-cache', 'sea', `node-v${version}-linux-${arch}`);
  const path = join(folder, 'bin', 'node');
  if (existsSync(`${path}.ok`)) return path;
  mkdirSync(dirname(path), { recursive: true });
  const draft = `${path}.draft`;
  copyFileSync(fetchNode(version, arch, cache), draft);
  chmodSync(draft, 0o755);
  strip(draft, arch);
  renameSync(draft, path);
  // Archive and marks: without them pkg would download and unpack. Nothing reads what is in them.
  for (const file of [`${folder}.tar.gz`, `${folder}.tar.gz.ok`, `${path}.ok`]) writeFileSync(file, '');
  return path;
}

/** Debian's names of the tool for each architecture, as Node names that. */
const strippers = { x64: 'x86_64-linux-gnu-strip', arm64: 'aarch64-linux-gnu-strip' };

/** Saves about 10 MB on disk, none in memory; a machine without binutils for the architecture goes without. */
function strip(path, arch) {
  try {
    execFileSync(arch === process.arch ? 'strip' : strippers[arch] ?? 'strip', ['--strip-unneeded', path], { stdio: 'pipe' });
  } catch (error) {
    process.stderr.write(`package: symbols stay in the binary: ${String(error.message).trim().split('\n').at(-1)}\n`);
  }
}
