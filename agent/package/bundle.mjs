import { build } from 'esbuild';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Packages that dockerode loads at start for image builds, SSH transports and file uploads, which an agent never does;
 * and what a bundle cannot hold (optional native parts) or Node has itself.
 */
const alias = {
  '@balena/dockerignore': here('stubs/empty.cjs'),
  '@grpc/grpc-js': here('stubs/empty.cjs'),
  '@grpc/proto-loader': here('stubs/empty.cjs'),
  bufferutil: here('stubs/absent.cjs'),
  'cpu-features': here('stubs/empty.cjs'),
  debug: here('stubs/debug.cjs'),
  msgpackr: here('../../node_modules/msgpackr/index.js'),
  'msgpackr-extract': here('stubs/absent.cjs'),
  protobufjs: here('stubs/empty.cjs'),
  'readable-stream': here('stubs/stream.cjs'),
  ssh2: here('stubs/empty.cjs'),
  'tar-fs': here('stubs/empty.cjs'),
  'utf-8-validate': here('stubs/absent.cjs'),
};

/** Another version than the sources', to try an upgrade with: $WHERRY_VERSION. */
const versionPlugin = (wanted) => ({
  name: 'version',
  setup: ({ onLoad }) => onLoad({ filter: /[\\/]shared[\\/]version\.ts$/ }, ({ path }) => ({
    loader: 'ts', contents: readFileSync(path, 'utf8').replace(/version = '[^']*'/, `version = ${JSON.stringify(wanted)}`),
  })),
});

/** What `wherry:pages` is in the program: the addon's bytes, or none. */
const addonPlugin = (addon) => ({
  name: 'addon',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^wherry:pages$/ }, ({ path }) => ({ path, namespace: 'addon' }));
    onLoad({ filter: /.*/, namespace: 'addon' }, () => ({ loader: 'binary', contents: addon ?? new Uint8Array() }));
  },
});

/**
 * The agent as one CommonJS file, which is what a single executable takes.
 * Names stay, so that stacks in bug reports can be read.
 * @param {Uint8Array} [addon] memory/pages.c, compiled
 * @returns {Promise<{ code: Uint8Array, inputs: string[] }>} inputs: the files of which something is in it, below the project's root
 */
export async function bundle(addon) {
  const result = await build({
    entryPoints: [here('entry.mjs')], absWorkingDir: here('../..'), bundle: true, write: false, platform: 'node', format: 'cjs', target: 'node20',
    minifyWhitespace: true, minifySyntax: true, legalComments: 'none', charset: 'ascii', alias, logLevel: 'warning', metafile: true,
    plugins: [addonPlugin(addon), ...(process.env.WHERRY_VERSION ? [versionPlugin(process.env.WHERRY_VERSION)] : [])],
  });
  const [output] = Object.values(result.metafile.outputs);
  return { code: result.outputFiles[0].contents, inputs: Object.entries(output.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => path) };
}
