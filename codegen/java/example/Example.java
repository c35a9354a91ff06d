import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.concurrent.TimeUnit;
import topten.leaderboard.v1.Entry;
import topten.leaderboard.v1.Frame;
import topten.leaderboard.v1.GetLeaderboardRequest;
import topten.leaderboard.v1.LeaderboardServiceGrpc;
import topten.leaderboard.v1.LeaderboardServiceGrpc.LeaderboardServiceBlockingStub;
import topten.leaderboard.v1.WatchLeaderboardRequest;

/** The first calls of a service: its token, the head of a board, a frame of its stream, and what a refusal says. */
public final class Example {
  /** The first call also connects and loads classes, so its deadline is generous; a service that is warm does with 2 s. */
  private static final long SECONDS = 30;

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 2) {
      System.err.println("usage: Example ADDRESS BOARD");
      System.exit(2);
    }
    ManagedChannel channel =
        Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    try {
      run(channel, arguments[1]);
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private static void run(Channel channel, String board) throws Exception {
    LeaderboardServiceBlockingStub leaderboard =
        LeaderboardServiceGrpc.newBlockingStub(channel).withCallCredentials(new ServiceToken());

    GetLeaderboardRequest request = GetLeaderboardRequest.newBuilder().setBoard(board).setLimit(10).build();
    Frame head = leaderboard.withDeadlineAfter(SECONDS, TimeUnit.SECONDS).getLeaderboard(request).getFrame();
    for (Entry entry : head.getEntriesList()) {
      System.out.println(entry.getRank() + " " + entry.getUsername() + " " + entry.getScore());
    }

    // A stream has no deadline and lasts until its context ends.
    try (Context.CancellableContext watching = Context.current().withCancellation()) {
      watching.run(
          () -> {
            WatchLeaderboardRequest watch = WatchLeaderboardRequest.newBuilder().setBoard(board).build();
            Frame frame = leaderboard.watchLeaderboard(watch).next().getFrame();
            System.out.printf("frame of %s with %d entries%n", frame.getBoard(), frame.getEntriesCount());
          });
    }

    GetLeaderboardRequest wrong = GetLeaderboardRequest.newBuilder().setBoard("no such board").build();
    try {
      leaderboard.withDeadlineAfter(SECONDS, TimeUnit.SECONDS).getLeaderboard(wrong);
    } catch (StatusRuntimeException refusal) {
      System.out.println("refused: " + reason(refusal));
    }
  }

  /** The reason that Topten gave; the failure itself if it is not Topten's: the network, or a proxy. */
  private static String reason(StatusRuntimeException failure) throws InvalidProtocolBufferException {
    Status status = StatusProto.fromThrowable(failure);
    if (status != null) {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          return detail.unpack(ErrorInfo.class).getReason();
        }
      }
    }
    throw failure;
  }
}
