//! The load generator against a server that is not ours: nginx with its RTMP module.
mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use support::eventually;
use support::load::load;
use support::programs::{Program, Scratch};

/// A running nginx.
struct Nginx {
    program: Program,
    address: SocketAddr,
    _folder: Scratch,
}

impl Nginx {
    fn start() -> Self {
        let folder = Scratch::new("nginx");
        // It takes no port 0: one that is free now.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
             daemon off; master_process off; pid {}; error_log stderr;\n\
             events {{ worker_connections 512; }}\n\
             rtmp {{ server {{ listen {address}; application live {{\n\
             live on; wait_key on; wait_video on; }} }} }}\n",
            folder.file("pid").display()
        );
        let file = folder.file("nginx.conf");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(folder.file("")).arg("-c").arg(file);
        // Debian's libnginx-mod-rtmp: scripts/install-tools.sh.
        let mut program = Program::start(command, "nginx", &folder);
        eventually("nginx that listens", || {
            assert!(program.is_running(), "{}", program.story());
            TcpStream::connect(address).ok()
        });
        Self { program, address, _folder: folder }
    }
}

#[test]
fn a_foreign_server_is_loaded_and_its_players_are_checked() {
    let nginx = Nginx::start();
    let pid = nginx.program.pid().to_string();
    let flags = ["--players", "8", "--verify-every", "2", "--gop-ms", "500", "--time", "2"];
    let more = ["--expect-no-gap", "--server-pid", &pid];
    let run = load(nginx.address, &[&flags[..], &more].concat());
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let count = |name| run.count(name);
    assert_eq!(["joined", "verified", "drained"].map(count), [8, 4, 4]);
    assert_eq!(["gaps", "corrupt", "reordered", "short_players", "closed"].map(count), [0; 5]);
    // At least what was published in the measured time, to every player that is verified.
    assert!(count("verified_messages") >= 4 * 2 * 73, "{}", run.result);
    assert!(run.number("server_cpu_ms") > 0.0, "{}", run.result);
}
