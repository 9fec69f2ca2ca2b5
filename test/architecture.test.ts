import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, normalize, relative } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';

/** Checks design/architecture.md's rules against the sources: direction, cycles, and each package's one home. */
const test = suite('architecture');
const root = process.cwd();

interface Source { readonly path: string; readonly text: string; readonly files: readonly string[]; readonly packages: readonly string[]; readonly typeOnly: ReadonlySet<string> }

function read(directory: string): Source[] {
  return readdirSync(join(root, directory), { recursive: true })
    .map((name) => join(directory, String(name)))
    .filter((path) => path.endsWith('.ts') && statSync(join(root, path)).isFile())
    .map((path) => parse(path, readFileSync(join(root, path), 'utf8')));
}

function parse(path: string, text: string): Source {
  const statements = [...text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm)];
  const lazy = [...text.matchAll(/import\('([^']+)'\)/g)].map(([, target]) => target!);
  const targets = [...statements.map(([, , target]) => target!), ...lazy];
  const resolve = (target: string): string => normalize(join(dirname(path), target));
  return {
    path, text,
    files: targets.filter((target) => target.startsWith('.')).map(resolve),
    packages: targets.filter((target) => !target.startsWith('.')),
    typeOnly: new Set(statements.filter(([, type]) => type).map(([, , target]) => resolve(target!))),
  };
}

const sources = ['shared', 'master', 'agent'].flatMap(read);
const byPath = new Map(sources.map((source) => [source.path, source]));

/** Folder of a file as the import rules see it; files at the top of master/ and agent/ construct, and may import all of theirs. */
function room(path: string): string {
  const [top, second, third] = path.split('/');
  return top === 'shared' || third === undefined ? top! : `${top}/${second}`;
}

const masterAll = ['store', 'registry', 'admission', 'api', 'controllers', 'scheduler', 'hub', 'status'].map((name) => `master/${name}`);
const agentAll = ['runtime', 'state', 'pods', 'volumes', 'streams', 'net'].map((name) => `agent/${name}`);

const allowed: Readonly<Record<string, readonly string[]>> = {
  shared: [],
  'master/store': ['shared'],
  'master/registry': ['shared', 'master/store'],
  'master/admission': ['shared', 'master/store', 'master/registry'],
  'master/api': ['shared', 'master/store', 'master/registry', 'master/admission'],
  'master/controllers': ['shared', 'master/store', 'master/registry'],
  'master/scheduler': ['shared', 'master/store', 'master/registry'],
  'master/hub': ['shared', 'master/store', 'master/registry'],
  'master/status': ['shared', 'master/store', 'master/registry'],
  master: ['shared', ...masterAll],
  'agent/runtime': ['shared'],
  'agent/state': ['shared'],
  'agent/volumes': ['shared', 'agent/runtime', 'agent/state'],
  'agent/pods': ['shared', 'agent/runtime', 'agent/state', 'agent/volumes'],
  'agent/streams': ['shared', 'agent/runtime', 'agent/state'],
  'agent/net': ['shared', 'agent/runtime', 'agent/state'],
  // session/ is the inside of session.ts, the link to the master.
  'agent/session': ['shared', 'agent/state', 'agent'],
  // ops/ is what a person on the host asks for: it looks at all parts, and none looks at it.
  'agent/ops': ['shared', 'agent/session', 'agent/state', 'agent/runtime', 'agent/volumes', 'agent/net', 'agent'],
  // upgrade/ replaces the program: it uses the link to the master, and nothing of the node.
  'agent/upgrade': ['shared', 'agent/session'],
  agent: ['shared', 'agent/session', 'agent/ops', 'agent/upgrade', ...agentAll],
};

test('imports point one way', () => {
  const wrong: string[] = [];
  for (const source of sources) {
    const here = room(source.path);
    for (const target of source.files) {
      const there = room(target);
      if (there !== here && !allowed[here]?.includes(there)) wrong.push(`${source.path} imports ${target}`);
    }
  }
  assert.equal(wrong, []);
});

test('every import names a file that is there', () => {
  const missing = sources.flatMap((source) => source.files.filter((target) => !byPath.has(target)).map((target) => `${source.path}: ${target}`));
  assert.equal(missing, []);
});

test('no import cycles, types aside', () => {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) { cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → ')); return; }
    if (done.has(path)) return;
    const source = byPath.get(path);
    for (const target of source?.files ?? []) if (!source!.typeOnly.has(target)) visit(target, [...trail, path]);
    done.add(path);
  };
  for (const { path } of sources) visit(path, []);
  assert.equal(cycles, []);
});

/** Package → the files that may import it. Whatever is not here may not be imported at all. */
const homes: Readonly<Record<string, readonly string[]>> = {
  valibot: ['shared/', 'master/', 'agent/'],
  msgpackr: ['shared/protocol.ts', 'agent/state/'],
  lmdb: ['master/store/lmdb.ts', 'master/store/'],
  ws: ['master/hub/', 'master/api/', 'master/status/', 'agent/session/connect.ts'],
  dockerode: ['agent/runtime/docker.ts'],
  cac: ['master/main.ts', 'agent/main.ts'],
  yaml: ['master/api/'],
  '@peculiar/x509': ['master/certificates.ts'],
  'reflect-metadata': ['master/certificates.ts'],
};

test('each package has its home', () => {
  const strays: string[] = [];
  for (const { path, packages } of sources) {
    for (const name of packages) {
      if (name.startsWith('node:')) continue;
      if (!homes[name]?.some((home) => path.startsWith(home))) strays.push(`${path} imports ${name}`);
    }
  }
  assert.equal(strays, []);
});

test('relative imports carry their suffix, builtins their prefix', () => {
  const bare = sources.flatMap(({ path, files }) => files.filter((file) => !file.endsWith('.ts') && !file.endsWith('.json')).map((file) => `${path}: ${file}`));
  assert.equal(bare, []);
});

test('a file over 600 lines says at its top why', () => {
  const long = sources.filter(({ text }) => text.split('\n').length > 600 && !/^\/\*\*?[^]*?(long|one file|whole)/i.test(text.slice(0, 600)));
  assert.equal(long.map(({ path }) => relative('.', path)), []);
});

test('the project speaks of itself alone', () => {
  const words = /\/work\/|registry\.npmjs|deb\.debian|\bsession of mine\b/;
  assert.equal(sources.filter(({ text }) => words.test(text)).map(({ path }) => path), []);
});

test('the map names every file, and none that is gone', () => {
  const text = readFileSync(join(root, 'design/architecture.md'), 'utf8');
  const named = new Set([...text.matchAll(/(?<![\w./<-])[a-z][\w-]*\.(?:ts|mjs|c|sh)\b(?!\.)/g)].map(([name]) => name));
  const below = (folder: string): string[] => readdirSync(join(root, folder), { recursive: true }).map((name) => basename(String(name))).filter((name) => /\.(ts|mjs|c|sh)$/.test(name));
  const [known, others] = [new Set(['shared', 'master', 'agent'].flatMap(below)), new Set(['bench', 'test', 'manifests'].flatMap(below))];
  assert.equal([...known].filter((name) => !named.has(name)).sort(), [], 'files that design/architecture.md does not name');
  assert.equal([...named].filter((name) => !known.has(name) && !others.has(name)).sort(), [], 'files that it names and that are gone');
});

test.run();
