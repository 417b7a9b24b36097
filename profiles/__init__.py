"""What `hardcoat setup` and `hardcoat campaign` read: profiles, computers, codes and campaigns as YAML."""
