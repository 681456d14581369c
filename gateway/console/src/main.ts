// The console's pages. Their data is FleetService alone.
import "./main.css";
