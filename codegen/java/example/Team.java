import static java.util.concurrent.TimeUnit.SECONDS;

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
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import topten.action.v1.ActionResult;
import topten.action.v1.ActionServiceGrpc;
import topten.action.v1.ActionServiceGrpc.ActionServiceBlockingStub;
import topten.action.v1.ActionType;
import topten.action.v1.Player;
import topten.action.v1.PlayerAction;
import topten.action.v1.PutActionTypeRequest;
import topten.action.v1.ReportedRule;
import topten.action.v1.Rule;
import topten.action.v1.SubmitActionsRequest;
import topten.board.v1.ArchiveBoardRequest;
import topten.board.v1.BoardDefinition;
import topten.board.v1.BoardServiceGrpc;
import topten.board.v1.BoardServiceGrpc.BoardServiceBlockingStub;
import topten.board.v1.PutBoardRequest;
import topten.identity.v1.EnsurePlayersRequest;
import topten.identity.v1.EnsuredPlayer;
import topten.identity.v1.IdentityServiceGrpc;
import topten.identity.v1.IdentityServiceGrpc.IdentityServiceBlockingStub;
import topten.identity.v1.PlayerProfile;
import topten.leaderboard.v1.Entry;
import topten.leaderboard.v1.Frame;
import topten.leaderboard.v1.GetProofRequest;
import topten.leaderboard.v1.LeaderboardServiceGrpc;
import topten.leaderboard.v1.LeaderboardServiceGrpc.LeaderboardServiceBlockingStub;
import topten.leaderboard.v1.Proof;
import topten.leaderboard.v1.WatchLeaderboardRequest;
import topten.leaderboard.v1.WatchLeaderboardResponse;

/**
 * What a team's service does: its players, points and board, then a proof of a final rank, checked without Topten. The client needs
 * the scopes action:define, action:submit, board:define, leaderboard:read and player:write. Arguments: IDENTITY QUIZ SCORE
 * LEADERBOARD NAME.
 */
public final class Team {
  /** The first call also connects and loads classes; the calls of a service that is warm do with 2 s. */
  private static final long DEADLINE = 30;

  /** A new board is filled within seconds, and a closed one is sealed within a minute. */
  private static final int ATTEMPTS = 240;

  private static final long PAUSE_MILLIS = 500;
  private static final ServiceToken TOKEN = new ServiceToken();

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 5) {
      System.err.println("usage: Team IDENTITY QUIZ SCORE LEADERBOARD NAME");
      System.exit(2);
    }
    List<ManagedChannel> channels = new ArrayList<>();
    try {
      for (String address : List.of(arguments).subList(0, 4)) {
        channels.add(Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build());
      }
      run(channels.get(0), channels.get(1), channels.get(2), channels.get(3), arguments[4]);
    } finally {
      for (ManagedChannel channel : channels) {
        channel.shutdownNow().awaitTermination(5, SECONDS);
      }
    }
  }

  private static void run(Channel toIdentity, Channel toQuiz, Channel toScore, Channel toLeaderboard, String name)
      throws Exception {
    IdentityServiceBlockingStub identity = IdentityServiceGrpc.newBlockingStub(toIdentity).withCallCredentials(TOKEN);
    ActionServiceBlockingStub actions = ActionServiceGrpc.newBlockingStub(toQuiz).withCallCredentials(TOKEN);
    BoardServiceBlockingStub boards = BoardServiceGrpc.newBlockingStub(toScore).withCallCredentials(TOKEN);
    LeaderboardServiceBlockingStub leaderboard =
        LeaderboardServiceGrpc.newBlockingStub(toLeaderboard).withCallCredentials(TOKEN);

    EnsurePlayersRequest.Builder players = EnsurePlayersRequest.newBuilder();
    for (String each : List.of(name + "-a", name + "-b")) {
      players.addPlayers(PlayerProfile.newBuilder().setExternalId(each).setUsername(each));
    }
    System.out.print("players:");
    for (EnsuredPlayer each :
        identity.withDeadlineAfter(DEADLINE, SECONDS).ensurePlayers(players.build()).getResultsList()) {
      System.out.print(" " + each.getStatus());
    }
    System.out.println();

    Rule rule = Rule.newBuilder().setReported(ReportedRule.newBuilder().setMinimum(1).setMaximum(1000)).build();
    ActionType.Builder type = ActionType.newBuilder().setActionTypeId(name).setTitle("A run").setRule(rule);
    type.setSubmitters(ActionType.Submitters.SERVICES);
    actions
        .withDeadlineAfter(DEADLINE, SECONDS)
        .putActionType(PutActionTypeRequest.newBuilder().setActionType(type).build());

    LocalDate today = LocalDate.now(ZoneOffset.UTC);
    BoardDefinition.Builder definition = BoardDefinition.newBuilder().setName(name).addSources("action:" + name);
    definition.setPeriod("range:" + today.minusDays(1) + "/" + today.plusDays(2));
    boards.withDeadlineAfter(DEADLINE, SECONDS).putBoard(PutBoardRequest.newBuilder().setDefinition(definition).build());

    PlayerAction run = action(name, "a", 30);
    SubmitActionsRequest.Builder batch = SubmitActionsRequest.newBuilder().addActions(run);
    batch.addActions(action(name, "b", 20)).addActions(run).addActions(action(name, "b", 5000));
    for (ActionResult each :
        actions.withDeadlineAfter(DEADLINE, SECONDS).submitActions(batch.build()).getResultsList()) {
      String said = each.getReason().isEmpty() ? Integer.toString(each.getPointsAwarded()) : each.getReason();
      System.out.println(each.getStatus() + " " + said);
    }

    String board = "custom:" + name;
    Frame frame = untilDone(() -> firstWholeFrame(leaderboard, board, 2), List.of("BOARD_NOT_FOUND"));
    for (Entry entry : frame.getEntriesList()) {
      System.out.println(entry.getRank() + " " + entry.getUsername() + " " + entry.getScore());
    }

    ArchiveBoardRequest archive = ArchiveBoardRequest.newBuilder().setName(name).build();
    untilDone(() -> boards.withDeadlineAfter(DEADLINE, SECONDS).archiveBoard(archive), List.of("UNAVAILABLE"));
    // Refused until the board is closed, and then until it is sealed.
    GetProofRequest request =
        GetProofRequest.newBuilder().setBoard(board).setUserId(frame.getEntries(0).getUserId()).build();
    Proof proof =
        untilDone(
            () -> leaderboard.withDeadlineAfter(DEADLINE, SECONDS).getProof(request).getProof(),
            List.of("INVALID_ARGUMENT", "UNAVAILABLE"));
    long size = ProofCheck.players(proof);
    System.out.printf("proof: rank %d of %d with %d points%n", proof.getRank(), size, proof.getScore());
  }

  /** One action of a player who is named as in this team's system. */
  private static PlayerAction action(String name, String player, int value) {
    return PlayerAction.newBuilder()
        .setPlayer(Player.newBuilder().setExternalId(name + "-" + player))
        .setActionTypeId(name)
        .setActionId(UUID.randomUUID().toString())
        .setValue(value)
        .build();
  }

  /** Watch the board until it shows all players. */
  private static Frame firstWholeFrame(LeaderboardServiceBlockingStub leaderboard, String board, int players)
      throws Exception {
    try (Context.CancellableContext watching = Context.current().withCancellation()) {
      return watching.call(
          () -> {
            WatchLeaderboardRequest watch = WatchLeaderboardRequest.newBuilder().setBoard(board).build();
            Iterator<WatchLeaderboardResponse> frames = leaderboard.watchLeaderboard(watch);
            Frame frame = frames.next().getFrame();
            while (frame.getEntriesCount() != players || frame.getStale()) {
              frame = frames.next().getFrame();
            }
            return frame;
          });
    }
  }

  /** Repeat what is refused for one of these reasons. */
  private static <T> T untilDone(Callable<T> attempt, List<String> notYet) throws Exception {
    for (int count = 0; count < ATTEMPTS; count++) {
      try {
        return attempt.call();
      } catch (StatusRuntimeException refusal) {
        if (!notYet.contains(reason(refusal))) {
          throw refusal;
        }
      }
      Thread.sleep(PAUSE_MILLIS);
    }
    throw new IllegalStateException("still refused: " + notYet);
  }

  /** The reason that Topten gave; empty if the failure is not Topten's: the network, or a proxy. */
  private static String reason(StatusRuntimeException failure) throws InvalidProtocolBufferException {
    Status status = StatusProto.fromThrowable(failure);
    if (status != null) {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          return detail.unpack(ErrorInfo.class).getReason();
        }
      }
    }
    return "";
  }
}
