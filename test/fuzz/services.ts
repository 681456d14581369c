// The services that are given hostile input at their sockets and listeners.
import { fleetService } from "./services/fleet.ts";
import { gatewayService } from "./services/gateway.ts";
import type { Service } from "./services/service.ts";
import { shimService } from "./services/shim.ts";

export const services: readonly Service[] = [shimService, gatewayService, fleetService];
