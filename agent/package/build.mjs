/**
 * npm run package [-- ARCH…]: the agent as one executable file that needs no Node.js, in dist/package; without a name,
 * for every architecture. `own` is this machine's.
 * How and why so: design/packaging.md. Everything that is fetched stays in node_modules/.cache/wherry/package.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle } from './bundle.mjs';
import { compileAddon } from './memory/addon.mjs';
import { fetchNode, headersOf, layBase, sumOf } from './node.mjs';
import { bill, notices } from './sbom.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const here = fileURLToPath(new URL('.', import.meta.url));
const cache = join(root, 'node_modules', '.cache', 'wherry', 'package');
/** A version of its own ($WHERRY_VERSION, to try an upgrade with) lies apart: dist/package/VERSION. */
const version = process.env.WHERRY_VERSION ?? '';
if (!/^[\w.+-]*$/.test(version)) throw new Error(`WHERRY_VERSION: ${version} is no version`);
const output = join(root, 'dist', 'package', version);

/** By Docker's name of the architecture: what Node calls it, and the Node version that goes into the file. */
const targets = {
  amd64: { arch: 'x64', version: '20.20.2' },
  arm64: { arch: 'arm64', version: '20.20.2' },
};

/** Architectures that one might look for. */
const impossible = {
  'arm/v7': "npm's newest Node for it is 20.11.0, which is older than the agent needs (20.15)",
};

/** pkg itself needs 22 or later, whatever it packs. */
const builderVersion = '22.23.3';

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** pkg as tools/package-lock.json pins it; installed anew when that changes. */
function installPkg() {
  const folder = join(cache, 'tools');
  const mark = join(folder, 'installed');
  const wanted = sha256(readFileSync(join(here, 'tools', 'package-lock.json')));
  if (!existsSync(mark) || readFileSync(mark, 'utf8') !== wanted) {
    rmSync(folder, { recursive: true, force: true });
    cpSync(join(here, 'tools'), folder, { recursive: true });
    execFileSync('npm', ['ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error'], { stdio: ['ignore', 'ignore', 'inherit'] });
    writeFileSync(mark, wanted);
  }
  return join(folder, 'node_modules', '@yao-pkg', 'pkg', 'lib-es5', 'bin.js');
}

/** Packs `code` for one architecture; `draft` is where to. */
function pack(name, { arch, version }, code, draft) {
  const home = join(cache, 'home');
  const temporary = join(cache, 'tmp');
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  // A single file without a package.json: pkg then injects it as it is, and adds nothing of its own that would run.
  const program = join(temporary, 'wherry-agent.cjs');
  writeFileSync(program, code);
  layBase({ version, arch, home, cache });
  // The program is prepared by the same version of Node that will run it, on this machine.
  if (arch !== process.arch) layBase({ version, arch: process.arch, home, cache });
  const builder = Number(process.versions.node.split('.')[0]) >= 22 ? process.execPath : fetchNode(builderVersion, process.arch, cache);
  execFileSync(builder, [installPkg(), program, '--sea', '-t', `node${version}-linux-${arch}`, '-o', draft], {
    stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, HOME: home, TMPDIR: temporary },
  });
  if (arch === process.arch) execFileSync(draft, ['--version'], { stdio: 'ignore', env: {} });
}

/** Makes a file unless it is there already, made from the same. */
async function build(name) {
  const target = targets[name];
  const file = `wherry-agent-linux-${name}`;
  const path = join(output, file);
  const mark = join(cache, `${file}${version}.made`);
  const addon = compileAddon(target.arch, headersOf(fetchNode(target.version, target.arch, cache)));
  const { code, inputs } = await bundle(addon);
  const from = sha256(JSON.stringify([sha256(code), target, ...['build.mjs', 'node.mjs', 'sbom.mjs', 'tools/package-lock.json'].map((part) => sha256(readFileSync(join(here, part))))]));
  const made = existsSync(mark) && existsSync(path) ? readFileSync(mark, 'utf8') : '';
  if (made !== `${from} ${existsSync(path) ? sha256(readFileSync(path)) : ''}`) {
    const draft = join(cache, `${file}${version}.draft`);
    pack(name, target, code, draft);
    mkdirSync(output, { recursive: true });
    describe(file, target, inputs, draft);
    // Into place in one step: an agent may be running from the old file.
    renameSync(draft, path);
    writeFileSync(mark, `${from} ${sha256(readFileSync(path))}`);
  }
  process.stdout.write(`dist/package/${version && `${version}/`}${file}  ${(statSync(path).size / 1e6).toFixed(1)} MB  (program ${(code.length / 1e6).toFixed(2)} MB, Node ${target.version})\n`);
}

/** What is in a binary, and the licences of that, in files beside it. */
function describe(file, { arch, version: nodeVersion }, inputs, draft) {
  const node = fetchNode(nodeVersion, arch, cache);
  const versions = JSON.parse(execFileSync(fetchNode(nodeVersion, process.arch, cache), ['-p', 'JSON.stringify(process.versions)'], { encoding: 'utf8', env: {} }));
  const document = bill({
    root, inputs, name: 'wherry-agent', version: version || JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version, sum: sha256(readFileSync(draft)),
    node: { version: nodeVersion, arch, versions, sum: sumOf(nodeVersion, arch) },
  });
  writeFileSync(join(output, `${file}.cdx.json`), `${JSON.stringify(document, undefined, 2)}\n`);
  writeFileSync(join(output, `${file}.licenses.txt`), notices({ root, inputs, node }));
}

function writeSums() {
  const files = readdirSync(output).filter((name) => name.startsWith('wherry-agent-')).sort();
  writeFileSync(join(output, 'SHA256SUMS'), files.map((name) => `${sha256(readFileSync(join(output, name)))}  ${name}\n`).join(''));
}

const own = Object.keys(targets).find((name) => targets[name].arch === process.arch);
const wanted = process.argv.length > 2 ? process.argv.slice(2).map((name) => (name === 'own' ? own ?? process.arch : name)) : Object.keys(targets);
const unknown = wanted.filter((name) => !(name in targets));
if (unknown.length > 0) {
  process.stderr.write(`package: no binary can be made for ${unknown.map((name) => `${name}${impossible[name] ? ` (${impossible[name]})` : ''}`).join(', ')}; there are: ${Object.keys(targets).join(', ')}\n`);
  process.exit(2);
}
for (const name of wanted) await build(name);
writeSums();
if (process.argv.length <= 2) for (const [name, why] of Object.entries(impossible)) process.stderr.write(`package: not made for ${name}: ${why}\n`);
