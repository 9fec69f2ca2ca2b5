import type { InferOutput } from 'valibot';
import { anything, bool, count32, dflt, int32, int64, intOrString, list, listMap, obj, oneOf, opt, req, str, time } from '../schema.ts';
import { ConfigMapKeySelector, ObjectFieldSelector, ResourceFieldSelector, SecretKeySelector } from './references.ts';
import { ResourceList, ResourceRequirements } from './resources.ts';
import { ContainerSecurityContext } from './security-context.ts';

export const ContainerPort = obj('core.v1.ContainerPort', {
  name: opt(str(), 'Name, unique within the pod, that services can refer to.'),
  hostPort: opt(int32(), 'Port of the host that leads here.'),
  containerPort: req(int32(), 'Port of the container, 1 to 65535.'),
  protocol: dflt(oneOf('TCP', 'UDP', 'SCTP'), 'TCP', 'Protocol.'),
  hostIP: opt(str(), 'Host address that the host port is bound to.'),
}, 'A port of a container.');
export type ContainerPort = InferOutput<typeof ContainerPort>;

export const EnvVarSource = obj('core.v1.EnvVarSource', {
  fieldRef: opt(ObjectFieldSelector, 'A field of the pod.'),
  resourceFieldRef: opt(ResourceFieldSelector, 'A resource of a container.'),
  configMapKeyRef: opt(ConfigMapKeySelector, 'A key of a config map.'),
  secretKeyRef: opt(SecretKeySelector, 'A key of a secret.'),
}, 'Where a value comes from; exactly one field is set.');
export type EnvVarSource = InferOutput<typeof EnvVarSource>;

export const EnvVar = obj('core.v1.EnvVar', {
  name: req(str(), 'Name of the variable.'),
  value: opt(str(), 'Value; $(NAME) is replaced by an earlier variable, $$ escapes.'),
  valueFrom: opt(EnvVarSource, 'Source of the value, instead of value.'),
}, 'An environment variable.');
export type EnvVar = InferOutput<typeof EnvVar>;

const ConfigMapEnvSource = obj('core.v1.ConfigMapEnvSource', {
  name: dflt(str(), '', 'Name of the config map.'),
  optional: opt(bool(), 'Whether the config map may be missing.'),
}, 'All keys of a config map.');

const SecretEnvSource = obj('core.v1.SecretEnvSource', {
  name: dflt(str(), '', 'Name of the secret.'),
  optional: opt(bool(), 'Whether the secret may be missing.'),
}, 'All keys of a secret.');

export const EnvFromSource = obj('core.v1.EnvFromSource', {
  prefix: opt(str(), 'Put before each key.'),
  configMapRef: opt(ConfigMapEnvSource, 'The config map.'),
  secretRef: opt(SecretEnvSource, 'The secret.'),
}, 'Many environment variables from one object.');
export type EnvFromSource = InferOutput<typeof EnvFromSource>;

export const VolumeMount = obj('core.v1.VolumeMount', {
  name: req(str(), 'Name of a volume of the pod.'),
  readOnly: opt(bool(), 'Mount without write access.'),
  recursiveReadOnly: opt(oneOf('Disabled', 'IfPossible', 'Enabled'), 'Whether submounts are read-only too.'),
  mountPath: req(str(), 'Path within the container.'),
  subPath: opt(str(), 'Path within the volume to mount instead of its root.'),
  mountPropagation: opt(oneOf('None', 'HostToContainer', 'Bidirectional'), 'How mounts travel between host and container.'),
  subPathExpr: opt(str(), 'As subPath, with $(NAME) replaced by environment variables.'),
}, 'Where a container sees a volume.');
export type VolumeMount = InferOutput<typeof VolumeMount>;

const VolumeDevice = obj('core.v1.VolumeDevice', {
  name: req(str(), 'Name of a claim volume of the pod.'),
  devicePath: req(str(), 'Path of the device within the container.'),
}, 'A raw block device within a container.');

export const ExecAction = obj('core.v1.ExecAction', {
  command: opt(list(str()), 'Command line, not run in a shell.'),
}, 'Runs a command in the container.');
export type ExecAction = InferOutput<typeof ExecAction>;

const HTTPHeader = obj('core.v1.HTTPHeader', {
  name: req(str(), 'Header name.'),
  value: dflt(str(), '', 'Header value.'),
}, 'One request header.');

export const HTTPGetAction = obj('core.v1.HTTPGetAction', {
  path: dflt(str(), '/', 'Path to request.'),
  port: req(intOrString(), 'Number or name of the port.'),
  host: opt(str(), 'Host to connect to; the pod address by default.'),
  scheme: dflt(oneOf('HTTP', 'HTTPS'), 'HTTP', 'HTTP or HTTPS.'),
  httpHeaders: opt(list(HTTPHeader), 'Headers to send.'),
}, 'Makes an HTTP request.');
export type HTTPGetAction = InferOutput<typeof HTTPGetAction>;

export const TCPSocketAction = obj('core.v1.TCPSocketAction', {
  port: req(intOrString(), 'Number or name of the port.'),
  host: opt(str(), 'Host to connect to; the pod address by default.'),
}, 'Opens a TCP connection.');
export type TCPSocketAction = InferOutput<typeof TCPSocketAction>;

export const GRPCAction = obj('core.v1.GRPCAction', {
  port: req(int32(), 'Port of the service.'),
  service: dflt(str(), '', 'Service name to ask about.'),
}, 'Asks the gRPC health service.');
export type GRPCAction = InferOutput<typeof GRPCAction>;

const handlers = {
  exec: opt(ExecAction, 'Run a command.'),
  httpGet: opt(HTTPGetAction, 'Make an HTTP request.'),
  tcpSocket: opt(TCPSocketAction, 'Open a TCP connection.'),
};

export const Probe = obj('core.v1.Probe', {
  ...handlers,
  grpc: opt(GRPCAction, 'Ask the gRPC health service.'),
  initialDelaySeconds: opt(count32(), 'Seconds from the start of the container to the first probe.'),
  timeoutSeconds: dflt(count32(), 1, 'Seconds until a probe counts as failed.'),
  periodSeconds: dflt(count32(), 10, 'Seconds between probes.'),
  successThreshold: dflt(count32(), 1, 'Successes in a row that count as success after a failure.'),
  failureThreshold: dflt(count32(), 3, 'Failures in a row that count as failure after a success.'),
  terminationGracePeriodSeconds: opt(int64(), 'Grace when this probe ends the container; the pod\'s by default.'),
}, 'A regular check of a container; exactly one action is set.');
export type Probe = InferOutput<typeof Probe>;

const SleepAction = obj('core.v1.SleepAction', {
  seconds: req(int64(), 'Seconds to sleep.'),
}, 'Waits.');

export const LifecycleHandler = obj('core.v1.LifecycleHandler', {
  ...handlers,
  sleep: opt(SleepAction, 'Wait.'),
}, 'An action at a turning point of a container; exactly one is set.');
export type LifecycleHandler = InferOutput<typeof LifecycleHandler>;

export const Lifecycle = obj('core.v1.Lifecycle', {
  postStart: opt(LifecycleHandler, 'Runs right after the start; its failure ends the container.'),
  preStop: opt(LifecycleHandler, 'Runs before the container is told to stop, within the grace period.'),
}, 'What is done after start and before stop.');
export type Lifecycle = InferOutput<typeof Lifecycle>;

const ContainerResizePolicy = obj('core.v1.ContainerResizePolicy', {
  resourceName: req(str(), 'Resource, such as cpu.'),
  restartPolicy: req(oneOf('NotRequired', 'RestartContainer'), 'Whether a resize restarts the container.'),
}, 'How one resource is resized.');

const common = {
  name: req(str(), 'Name, a DNS label unique within the pod.'),
  image: opt(str(), 'Image to run.'),
  command: opt(list(str()), 'Entry point; the image\'s by default. $(NAME) is replaced.'),
  args: opt(list(str()), 'Arguments; the image\'s by default. $(NAME) is replaced.'),
  workingDir: opt(str(), 'Working directory; the image\'s by default.'),
  ports: opt(listMap(ContainerPort, 'containerPort', ['containerPort', 'protocol']), 'Ports that the container listens on.'),
  envFrom: opt(list(EnvFromSource), 'Objects whose keys become environment variables.'),
  env: opt(listMap(EnvVar, 'name'), 'Environment variables.'),
  resources: dflt(ResourceRequirements, {}, 'Resources that it needs and may use.'),
  resizePolicy: opt(list(ContainerResizePolicy), 'How resources are resized in place.'),
  restartPolicy: opt(str(), 'Always makes an init container a sidecar; not allowed elsewhere.'),
  volumeMounts: opt(listMap(VolumeMount, 'mountPath'), 'Volumes to mount.'),
  volumeDevices: opt(listMap(VolumeDevice, 'devicePath'), 'Block devices to use.'),
  livenessProbe: opt(Probe, 'Failure restarts the container.'),
  readinessProbe: opt(Probe, 'Failure takes the pod out of its services.'),
  startupProbe: opt(Probe, 'Other probes wait until it succeeds.'),
  lifecycle: opt(Lifecycle, 'Actions after start and before stop.'),
  terminationMessagePath: dflt(str(), '/dev/termination-log', 'File whose content becomes the termination message.'),
  terminationMessagePolicy: dflt(oneOf('File', 'FallbackToLogsOnError'), 'File', 'Where the termination message comes from.'),
  imagePullPolicy: opt(oneOf('Always', 'IfNotPresent', 'Never'), 'When to pull: Always for :latest, else IfNotPresent, by default.'),
  securityContext: opt(ContainerSecurityContext, 'Privileges; override the pod\'s.'),
  stdin: opt(bool(), 'Keep standard input open.'),
  stdinOnce: opt(bool(), 'Close standard input after the first attach.'),
  tty: opt(bool(), 'Give the container a terminal; needs stdin.'),
};

export const Container = obj('core.v1.Container', common, 'A container of a pod.');
export type Container = InferOutput<typeof Container>;

export const EphemeralContainer = obj('core.v1.EphemeralContainer', {
  ...common,
  targetContainerName: opt(str(), 'Container whose namespaces it joins.'),
}, 'A container added to a running pod to debug it.');
export type EphemeralContainer = InferOutput<typeof EphemeralContainer>;

const ContainerStateWaiting = obj('core.v1.ContainerStateWaiting', {
  reason: opt(str(), 'Brief reason, such as ContainerCreating.'),
  message: opt(str(), 'Detail of the reason.'),
}, 'Not yet running.');

const ContainerStateRunning = obj('core.v1.ContainerStateRunning', {
  startedAt: opt(time(), 'When it was started.'),
}, 'Running.');

const ContainerStateTerminated = obj('core.v1.ContainerStateTerminated', {
  exitCode: dflt(int32(), 0, 'Exit status.'),
  signal: opt(int32(), 'Signal that ended it.'),
  reason: opt(str(), 'Brief reason, such as Completed or Error.'),
  message: opt(str(), 'Termination message.'),
  startedAt: opt(time(), 'When it was started.'),
  finishedAt: opt(time(), 'When it ended.'),
  containerID: opt(str(), 'ID, such as docker://….'),
}, 'Ended.');
export type ContainerStateTerminated = InferOutput<typeof ContainerStateTerminated>;

export const ContainerState = obj('core.v1.ContainerState', {
  waiting: opt(ContainerStateWaiting, 'Not yet running.'),
  running: opt(ContainerStateRunning, 'Running.'),
  terminated: opt(ContainerStateTerminated, 'Ended.'),
}, 'State of a container; at most one field is set, none means waiting.');
export type ContainerState = InferOutput<typeof ContainerState>;

const VolumeMountStatus = obj('core.v1.VolumeMountStatus', {
  name: req(str(), 'Name of the volume.'),
  mountPath: req(str(), 'Path within the container.'),
  readOnly: opt(bool(), 'Whether it was mounted read-only.'),
  recursiveReadOnly: opt(str(), 'Whether submounts are read-only too.'),
}, 'A mount as it was made.');

export const ContainerStatus = obj('core.v1.ContainerStatus', {
  name: dflt(str(), '', 'Name of the container.'),
  state: opt(ContainerState, 'State now.'),
  lastState: opt(ContainerState, 'How the previous run ended.'),
  ready: dflt(bool(), false, 'Whether the readiness probe passes.'),
  restartCount: dflt(int32(), 0, 'How often it was restarted.'),
  image: dflt(str(), '', 'Image that runs.'),
  imageID: dflt(str(), '', 'Digest of the image that runs.'),
  containerID: opt(str(), 'ID, such as docker://….'),
  started: opt(bool(), 'Whether the startup probe passed and the post-start action is done.'),
  allocatedResources: opt(ResourceList, 'Resources set aside by the node.'),
  resources: opt(ResourceRequirements, 'Resources in force.'),
  volumeMounts: opt(listMap(VolumeMountStatus, 'mountPath'), 'Mounts as they were made.'),
  user: opt(anything(), 'Identity of the first process.'),
  allocatedResourcesStatus: opt(anything(), 'Health of allocated devices.'),
}, 'What is known of a container.');
export type ContainerStatus = InferOutput<typeof ContainerStatus>;
