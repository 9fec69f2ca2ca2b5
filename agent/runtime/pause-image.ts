import { createHash } from 'node:crypto'
import { pauseBinaries } from './pause/binaries.ts'
import { tar } from './pause/tar.ts'

/** Architectures that agents run on, as Docker's `version` endpoint names them. `arm` is v6 and later, hard or soft float. */
export type PauseArch = keyof typeof pauseBinaries

/** The image under every pod sandbox. Raise the tag when the image changes: hosts keep an image that they have. */
export const pauseImageName = 'wherry/pause:1'

// Any number but root's: the program needs no right at all.
const user = '65535:65535'

const variants: Partial<Record<PauseArch, string>> = { arm: 'v6', arm64: 'v8' }

/**
 * The pause image for one architecture as `docker load` (`POST /images/load`) takes it: about 5 KB, made here rather
 * than pulled, so that a host without a registry can start pods. What the program does: pause/pause.md.
 * Deterministic: the same architecture gives the same bytes, hence the same image ID on every host.
 */
export function pauseImageTar(arch: PauseArch): Uint8Array {
  const layer = tar([{ name: 'pause', data: Buffer.from(pauseBinaries[arch], 'base64'), mode: 0o755 }])
  const diffId = sha256(layer)
  const config = json(imageConfig(arch, diffId))
  const configName = `${sha256(config)}.json`
  const manifest = [{ Config: configName, RepoTags: [pauseImageName], Layers: [`${diffId}/layer.tar`] }]
  return tar([
    { name: `${diffId}/layer.tar`, data: layer },
    { name: configName, data: config },
    { name: 'manifest.json', data: json(manifest) },
  ])
}

// The OCI image configuration. Its SHA-256 is the image's ID.
function imageConfig(arch: PauseArch, diffId: string) {
  const created = '1970-01-01T00:00:00Z'
  const variant = variants[arch]
  return {
    architecture: arch,
    ...(variant && { variant }),
    os: 'linux',
    created,
    config: { User: user, Entrypoint: ['/pause'], WorkingDir: '/', StopSignal: 'SIGTERM' },
    rootfs: { type: 'layers', diff_ids: [`sha256:${diffId}`] },
    history: [{ created, created_by: 'wherry pause' }],
  }
}

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}
