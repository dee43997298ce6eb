// Checks custom resources against the schemas of their projects, strictly: what no schema looks at is a mistake, too.
// Reads a JSON list of objects from standard input, writes a JSON list with the problems of each.
import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import { readFileSync } from "node:fs";

const MODELS = [HTTPRoute, PrometheusRule, ServiceMonitor];

/** `value`, telling `read` of each field that is looked at; who lists the fields looks at all of them. */
function watched(value, path, read) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, key) {
      const found = Reflect.get(target, key);
      if (typeof key !== "string" || !Object.hasOwn(target, key)) return found;
      read(path, key);
      return watched(found, `${path}/${key}`, read);
    },
    ownKeys(target) {
      for (const key of Object.keys(target)) read(path, key);
      return Reflect.ownKeys(target);
    },
  });
}

/** Fields that were not looked at, of objects of which some were. */
function overlooked(value, path, seen) {
  if (value === null || typeof value !== "object") return [];
  const known = seen.get(path);
  if (known === undefined) return [];
  return Object.keys(value).flatMap((key) =>
    known.has(key) ? overlooked(value[key], `${path}/${key}`, seen) : [`${path}/${key}: no such field`],
  );
}

function problems(object) {
  const model = MODELS.find((model) => model.apiVersion === object.apiVersion && model.kind === object.kind);
  if (model === undefined) return [`${object.apiVersion} ${object.kind}: no schema`];
  const seen = new Map();
  const read = (path, key) => seen.set(path, (seen.get(path) ?? new Set()).add(key));
  const instance = new model();
  Object.assign(instance, {
    metadata: watched(object.metadata, "/metadata", read),
    spec: watched(object.spec, "/spec", read),
  });
  try {
    instance.validate();
  } catch (error) {
    return [error.message];
  }
  return ["metadata", "spec"].flatMap((part) => overlooked(object[part], `/${part}`, seen));
}

const objects = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(objects.map(problems)));
