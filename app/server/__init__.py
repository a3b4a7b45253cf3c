"""Run the service: processes, sockets and connections."""
