import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const read = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** The npm packages that some of a bundle's files are of, as folders below `root`, each once. */
const packageFolders = (inputs) => [...new Set(inputs.flatMap((path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(path) ?? []))].sort();

/** Licences of what Node has inside, by the names of process.versions; `undefined` where they have no SPDX name of their own. */
const nodeParts = {
  acorn: 'MIT', ada: 'Apache-2.0 OR MIT', ares: 'MIT', base64: 'BSD-2-Clause', brotli: 'MIT', cjs_module_lexer: 'MIT', cldr: undefined,
  icu: undefined, llhttp: 'MIT', nghttp2: 'MIT', nghttp3: 'MIT', ngtcp2: 'MIT', openssl: 'Apache-2.0', simdjson: 'Apache-2.0', simdutf: 'Apache-2.0 OR MIT',
  tz: undefined, undici: 'MIT', unicode: undefined, uv: 'MIT', uvwasi: 'MIT', v8: 'BSD-3-Clause', zlib: 'Zlib',
};
/** Versions of interfaces, not of parts. */
const notParts = new Set(['node', 'modules', 'napi']);

/** An SPDX identifier or expression as CycloneDX has it. */
function licences(text) {
  if (typeof text !== 'string' || text === '') return {};
  return { licenses: [/^[\w.+-]+$/.test(text) ? { license: { id: text } } : { expression: text.replace(/^\((.*)\)$/, '$1') }] };
}

/** `pkg:npm/%40scope/name@1.2.3`. */
const purlOf = (name, version) => `pkg:npm/${name.replace(/^@/, '%40')}@${version}`;

function npmComponent(root, folder) {
  const { name, version, license } = read(join(root, folder, 'package.json'));
  const [scope, plain] = name.startsWith('@') ? name.split('/') : [undefined, name];
  const purl = purlOf(name, version);
  return { type: 'library', 'bom-ref': purl, ...(scope ? { group: scope } : {}), name: plain, version, ...licences(license), purl };
}

function nodeComponent({ version, arch, versions, sum }) {
  const purl = `pkg:npm/node-linux-${arch}@${version}`;
  const parts = Object.entries(versions).filter(([name]) => !notParts.has(name)).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    type: 'platform', 'bom-ref': purl, name: 'node', version, description: 'The Node.js runtime that the program is packed with; its symbols are removed',
    hashes: [{ alg: 'SHA-256', content: sum }], ...licences('MIT'), purl,
    components: parts.map(([name, partVersion]) => ({ type: 'library', 'bom-ref': `${purl}#${name}`, name, version: partVersion, ...licences(nodeParts[name]) })),
  };
}

/** A UUID that the same content always has. */
function uuidOf(text) {
  const hex = createHash('sha256').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/**
 * What is in a binary, as a CycloneDX 1.5 document; the same for the same binary, hence without a date.
 * @param {{ root: string, inputs: string[], name: string, version: string, sum: string, node: { version: string, arch: string, versions: Record<string, string>, sum: string } }} options
 *   inputs: files of the bundle, below root; sum: SHA-256 of the binary; node.sum: of Node's own, as npm carries it
 */
export function bill({ root, inputs, name, version, sum, node }) {
  const runtime = nodeComponent(node);
  const packages = packageFolders(inputs).map((folder) => npmComponent(root, folder));
  const self = `pkg:generic/${name}@${version}`;
  const components = [runtime, ...new Map(packages.map((one) => [one.purl, one])).values()];
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json', bomFormat: 'CycloneDX', specVersion: '1.5', serialNumber: `urn:uuid:${uuidOf(sum)}`, version: 1,
    metadata: { component: { type: 'application', 'bom-ref': self, name, version, hashes: [{ alg: 'SHA-256', content: sum }], ...licences(read(join(root, 'package.json')).license), purl: self } },
    components,
    dependencies: [{ ref: self, dependsOn: components.map((one) => one['bom-ref']) }, ...components.map((one) => ({ ref: one['bom-ref'] }))],
  };
}

const licenceFile = /^(licen[cs]e|copying|notice)([.-].*)?$/i;

/** The texts that a folder has of its licence. */
const textsIn = (folder) => (existsSync(folder) ? readdirSync(folder) : []).filter((file) => licenceFile.test(file)).map((file) => readFileSync(join(folder, file), 'utf8').trim());

/**
 * The licence texts that must go with a binary.
 * @param {{ root: string, inputs: string[], node: string }} options node: path of Node's binary in its npm package
 */
export function notices({ root, inputs, node }) {
  const entry = (folder) => {
    const { name, version, license } = read(join(folder, 'package.json'));
    return [`${'='.repeat(80)}\n${name} ${version} (${license ?? 'licence not named'})\n${'='.repeat(80)}`, ...textsIn(folder)].join('\n\n');
  };
  return `${[...packageFolders(inputs).map((folder) => join(root, folder)), join(dirname(node), '..')].map(entry).join('\n\n')}\n`;
}
